//! Replies of both protocol versions, read back by another implementation.

use super::*;
use proptest::prelude::*;
use redis_protocol::resp2::{decode as resp2, types::OwnedFrame as Frame2};
use redis_protocol::resp3::{decode::complete as resp3, types::OwnedFrame as Frame3};

fn encoded(protocol: Protocol, encode: impl Fn(&mut ReplyBuffer)) -> String {
    let mut reply = ReplyBuffer::new(protocol);
    encode(&mut reply);
    String::from_utf8(reply.buf).expect("these replies are text")
}

#[test]
fn each_type_is_encoded_in_both_versions() {
    type Encode = fn(&mut ReplyBuffer);
    let cases: &[(Encode, &str, &str)] = &[
        (|r| r.ok(), "+OK\r\n", "+OK\r\n"),
        (
            |r| r.error("ERR a\r\nb\n"),
            "-ERR a  b\r\n",
            "-ERR a  b\r\n",
        ),
        (|r| r.integer(-12), ":-12\r\n", ":-12\r\n"),
        (|r| r.integer(7), ":7\r\n", ":7\r\n"),
        (|r| r.bulk(b"ab"), "$2\r\nab\r\n", "$2\r\nab\r\n"),
        (|r| r.bulk_integer(100), "$3\r\n100\r\n", "$3\r\n100\r\n"),
        (|r| r.null(), "$-1\r\n", "_\r\n"),
        (|r| r.null_array(), "*-1\r\n", "_\r\n"),
        (|r| r.map(6), "*12\r\n", "%6\r\n"),
        (|r| r.set(123), "*123\r\n", "~123\r\n"),
        (|r| r.push(3), "*3\r\n", ">3\r\n"),
        (|r| r.boolean(true), ":1\r\n", "#t\r\n"),
        (|r| r.boolean(false), ":0\r\n", "#f\r\n"),
        (|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
        (
            |r| r.double(1.0 / 3.0),
            "$18\r\n0.3333333333333333\r\n",
            ",0.3333333333333333\r\n",
        ),
        (
            |r| r.double(f64::NEG_INFINITY),
            "$4\r\n-inf\r\n",
            ",-inf\r\n",
        ),
        (|r| r.big_number("123"), "$3\r\n123\r\n", "(123\r\n"),
        (
            |r| r.verbatim("txt", b"hi"),
            "$2\r\nhi\r\n",
            "=6\r\ntxt:hi\r\n",
        ),
    ];
    for (encode, resp2, resp3) in cases {
        assert_eq!(encoded(Protocol::Resp2, encode), *resp2);
        assert_eq!(encoded(Protocol::Resp3, encode), *resp3);
    }
}

#[test]
fn deferred_lengths_nest_and_grow() {
    let text = encoded(Protocol::Resp3, |reply| {
        let outer = reply.defer();
        for _ in 0..11 {
            let inner = reply.defer();
            reply.integer(1);
            reply.integer(2);
            reply.finish_map(inner, 1);
        }
        reply.finish_array(outer, 11);
    });
    assert_eq!(text, format!("*11\r\n{}", "%1\r\n:1\r\n:2\r\n".repeat(11)));
}

#[test]
fn truncate_undoes() {
    let text = encoded(Protocol::Resp2, |reply| {
        reply.ok();
        let start = reply.len();
        reply.bulk(b"half a reply");
        reply.truncate(start);
    });
    assert_eq!(text, "+OK\r\n");
}

proptest! {
    #[test]
    fn the_protocol_crate_reads_what_is_written(
        bulks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..20),
        integer in any::<i64>(),
        double in prop::num::f64::NORMAL,
    ) {
        let write = |protocol| {
            let mut reply = ReplyBuffer::new(protocol);
            reply.array(bulks.len() + 2);
            bulks.iter().for_each(|bulk| reply.bulk(bulk));
            reply.integer(integer);
            reply.double(double);
            reply.buf
        };

        let bytes = write(Protocol::Resp2);
        let (frame, used) = resp2::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(used, bytes.len());
        let Frame2::Array(items) = frame else { panic!("an array") };
        for (item, bulk) in items.iter().zip(&bulks) {
            prop_assert_eq!(item, &Frame2::BulkString(bulk.clone()));
        }
        prop_assert_eq!(&items[bulks.len()], &Frame2::Integer(integer));
        let Frame2::BulkString(text) = &items[bulks.len() + 1] else { panic!("a bulk") };
        prop_assert_eq!(number::parse_f64(text), Some(double));

        let bytes = write(Protocol::Resp3);
        let (frame, used) = resp3::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(used, bytes.len());
        let Frame3::Array { data: items, .. } = frame else { panic!("an array") };
        for (item, bulk) in items.iter().zip(&bulks) {
            let data = bulk.clone();
            prop_assert_eq!(item, &Frame3::BlobString { data, attributes: None });
        }
        let double = Frame3::Double { data: double, attributes: None };
        prop_assert_eq!(&items[bulks.len() + 1], &double);
    }
}
