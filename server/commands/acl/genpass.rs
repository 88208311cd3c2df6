//! ACL GENPASS: makes up a password.

use super::{BASE, too_many};
use crate::commands::args::integer;
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};

/// ACL GENPASS [bits]
pub const COMMAND: Command = Command {
    name: "acl|genpass",
    summary: "Makes up a password that nobody can guess.",
    arity: -2,
    args: &[Arg::integer("bits").optional()],
    run,
    ..BASE
};

const DEFAULT_BITS: i64 = 256;
const MAX_BITS: i64 = 4096;

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let bits = match &args[2..] {
        [] => DEFAULT_BITS,
        [bits] => integer(bits)?,
        _ => return Err(too_many(args)),
    };
    if !(1..=MAX_BITS).contains(&bits) {
        return Err(CommandError::err(format!(
            "ACL GENPASS argument must be the number of bits for the output password, a positive number up to {MAX_BITS}"
        )));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut random = vec![0u8; digits.div_ceil(2)];
    fill(&mut random).map_err(|error| CommandError::err(format!("no random bits: {error}")))?;
    let mut password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    password.truncate(digits);
    ctx.reply.bulk(password.as_bytes());
    Ok(())
}

/// Random bytes from the system, fit for secrets.
fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the pointer and length are those of a live slice.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) => {
                let error = std::io::Error::last_os_error();
                if error.kind() != std::io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}
