//! Numbers as clients write and read them.

use super::*;

fn shown(value: f64) -> String {
    let mut out = Vec::new();
    format_f64(value, &mut out);
    String::from_utf8(out).expect("digits are ASCII")
}

#[test]
fn integers_are_read_in_canonical_form_only() {
    assert_eq!(parse_i64(b"0"), Some(0));
    assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
    assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
    assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
    for text in [
        "",
        "-",
        "+1",
        "01",
        "-0",
        "-01",
        " 1",
        "1 ",
        "1a",
        "0x1",
        "9223372036854775808",
        "-9223372036854775809",
        "184467440737095516150",
    ] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(parse_u64(b"18446744073709551616"), None);
}

#[test]
fn doubles_are_read_as_the_field_reads_them() {
    for (text, value) in [
        ("+5", 5.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e5", 1e5),
        ("+inf", f64::INFINITY),
        ("Infinity", f64::INFINITY),
        ("-infinity", f64::NEG_INFINITY),
        ("1e-320", 1e-320),
        ("0e-999", 0.0),
    ] {
        assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
    }
    for text in [
        "", ".", "+", "1e", " 1", "1 ", "nan", "-nan", "0x10", "0x1p3", "1e400", "1e-400",
    ] {
        assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
    }
}

/// The expected texts are a Valkey server's answers to ZSCORE.
#[test]
fn doubles_are_shown_as_the_field_shows_them() {
    for (value, text) in [
        (3.0, "3"),
        (-0.0, "-0"),
        (1e20, "1e+20"),
        (1e21, "1e+21"),
        (123456789012345678901234.0, "123456789012345690000000"),
        (0.0001, "0.0001"),
        (0.000001, "0.000001"),
        (0.0000001, "1e-7"),
        (1.5e-7, "1.5e-7"),
        (1e17, "100000000000000000"),
        (1e18, "1000000000000000000"),
        (9223372036854775807.0, "9223372036854776000"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (-1.5e300, "-1.5e+300"),
        (12345678.9, "12345678.9"),
        (1.2e25, "1.2e+25"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(shown(value), text);
    }
}

/// The expected texts are a Valkey server's answers to INCRBYFLOAT.
#[test]
fn long_doubles_add_as_the_field_adds_them() {
    for (a, b, sum) in include_str!("long_double_fixtures.txt")
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?, words.next()?))
        })
    {
        let got = add_long_double(a.as_bytes(), b.as_bytes());
        assert_eq!(got.as_deref(), Ok(sum), "{a} + {b}");
    }
}

#[test]
fn texts_that_are_no_long_doubles_are_refused() {
    use extended::LongDoubleError::{NanOrInfinity, NotAFloat};
    for text in [
        "", " 1", "1 ", "nan", ".", "+", "1e", "0x", "1e5000", "1e-5000", "1__",
    ] {
        assert_eq!(
            add_long_double(text.as_bytes(), b"0"),
            Err(NotAFloat),
            "{text:?}"
        );
    }
    assert_eq!(add_long_double(b"inf", b"1"), Err(NanOrInfinity));
    assert_eq!(add_long_double(b"1e4932", b"1e4932"), Err(NanOrInfinity));
    assert_eq!(add_long_double(b"9", &b"9".repeat(6_000)), Err(NotAFloat));
}
