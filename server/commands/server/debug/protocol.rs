//! DEBUG PROTOCOL: an example of every reply type, for client authors.

use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::resp::Protocol;

/// Replies an example of `kind`.
pub fn example(ctx: &mut Context<'_>, kind: &[u8]) -> CommandResult {
    let reply = &mut *ctx.reply;
    let is_resp3 = reply.protocol == Protocol::Resp3;
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(f64::from(3141) / 1000.0),
        b"null" => reply.null(),
        b"array" | b"set" => {
            if kind.eq_ignore_ascii_case(b"set") {
                reply.set(3);
            } else {
                reply.array(3);
            }
            (0..3).for_each(|n| reply.integer(n));
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.integer(n);
                reply.boolean(n == 1);
            }
        }
        b"attrib" => {
            if is_resp3 {
                reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if !is_resp3 => {
            return Err(CommandError::err("RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        _ => {
            return Err(CommandError::err(
                "Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}
