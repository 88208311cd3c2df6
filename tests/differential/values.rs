//! The values that fill a template's holes: a small space of keys, so that types collide, and
//! numbers and strings at which servers go wrong.

use super::random::Random;

/// Keys of a type, and how many there are of each.
const KEYS_OF_A_TYPE: usize = 4;
/// Letters of the types' keys: string, hash, list, set, sorted set, stream, geo. A HyperLogLog's
/// is `p`, which no other command is given: broken ones are refused at other moments here.
const TYPES: [&str; 7] = ["s", "h", "l", "t", "z", "x", "g"];
/// The year 2100 in seconds: what expires behind it lives through the whole run.
const FAR_S: i64 = 4_102_444_800;

/// Arguments at which parsers go wrong and that do no harm anywhere.
pub const ODD: [&[u8]; 36] = [
    b"",
    b"0",
    b"-0",
    b"-1",
    b"1",
    b"2",
    b"-2",
    b"3",
    b"100",
    b"01",
    b"+1",
    b" 1",
    b"1 ",
    b"0x10",
    b"1.5",
    b"-1.5",
    b"1e3",
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"inf",
    b"-inf",
    b"+INF",
    b"nan",
    b"2147483647",
    b"2147483648",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"18446744073709551616",
    b"abc",
    b"\x00\xff\r\n",
    b"(1",
    b"[a",
    b"-",
    b"+",
];

/// The same for delicate commands: nothing that is a valid time, length or offset.
pub const ODD_BUT_SAFE: [&[u8]; 12] = [
    b"",
    b"-1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"18446744073709551616",
    b"abc",
    b"1.5",
    b"1e400",
    b" 1",
    b"nan",
    b"\x00\xff\r\n",
];

/// Draws a value of a kind. Panics if there is no such kind.
pub fn draw(kind: &str, random: &mut Random) -> Vec<u8> {
    match kind {
        "k" => key(random, None),
        "s" | "h" | "l" | "t" | "z" | "x" | "g" | "p" => key(random, Some(kind)),
        // Sorted sets whose members all have one score: only there is the order by name defined.
        "y" => text(format!("y:{}", random.below(3))),
        // No other sorted sets: SORT changes their encoding there, and not here.
        "sortable" => text(match random.below(12) {
            0 => "h:0".to_owned(),
            1 => "s:0".to_owned(),
            2 | 3 => format!("y:{}", random.below(3)),
            _ => format!("l:{}", random.below(KEYS_OF_A_TYPE)),
        }),
        // No streams: a group's making counts as a change here.
        "watched" => text(format!(
            "{}:{}",
            random.choose(&TYPES[..5]),
            random.below(4)
        )),
        "v" => value(random),
        "m" => member(random),
        "e" => match random.below(4) {
            0 => value(random),
            _ => text(*random.choose(&["a", "b", "c", "1", "2", "3"])),
        },
        "i" => or_odd(random, |random| random.between(-6, 6)),
        // A negative one is left to mutations: see the README's known differences (LIMIT).
        "n" => match random.below(60) {
            0 => text(*random.choose(&["9223372036854775807", "abc", "", "1.5", "100"])),
            _ => text(random.below(7).to_string()),
        },
        "bit" => match random.below(40) {
            0 => odd(random),
            bit => text((bit % 2).to_string()),
        },
        // Short, as they are waited for where a transaction's commands are sent without it.
        "timeout" => text(*random.choose(&["0.01", "0.02", "0.05", "-1", "nan", "x", "1e400"])),
        "block" => text(*random.choose(&["1", "10", "20", "-1", "1.5", "x"])),
        // The peer's product and sum are rounded once: only what is exact is the same.
        "weight" => text(*random.choose(&["1", "2", "-1", "0.5", "0", "inf", "-inf", "nan", "x"])),
        "int" => integer(random),
        "float" => float(random),
        "odd" => odd(random),
        "db" => match random.below(40) {
            0 => odd(random),
            1 => text("16"),
            _ => text(random.below(3).to_string()),
        },
        "glob" => text(*random.choose(&[
            "*", "s*", "?:1", "[hl]:*", "[^s]:?", "*0", "nothing", "\\*", "", "[a-", "*:*1",
        ])),
        "ttl" | "pttl" | "at" | "pat" => time(kind, random),
        "offset" | "bits" => offset(kind, random),
        "score" | "min" | "max" | "lexmin" | "lexmax" => bound(kind, random),
        "id" | "newid" | "group" | "consumer" | "idle" => stream(kind, random),
        "lon" | "lat" | "unit" | "radius" => geo(kind, random),
        "sortkey" | "sortby" | "script" | "function" | "channel" | "field" => name(kind, random),
        other => panic!("no kind of value is called {other}"),
    }
}

fn text(text: impl AsRef<str>) -> Vec<u8> {
    text.as_ref().as_bytes().to_vec()
}

fn odd(random: &mut Random) -> Vec<u8> {
    random.choose(&ODD).to_vec()
}

fn or_odd(random: &mut Random, usual: impl Fn(&mut Random) -> i64) -> Vec<u8> {
    match random.below(60) {
        0 => odd(random),
        _ => text(usual(random).to_string()),
    }
}

/// A key of a type, or now and then of any.
fn key(random: &mut Random, wanted: Option<&str>) -> Vec<u8> {
    let kind = match wanted {
        Some(kind) if !random.percent(4) => kind,
        _ => random.choose(&TYPES),
    };
    match random.below(400) {
        0 => text(""),
        1 => b"\x00\xff\r\n".to_vec(),
        _ => text(format!("{kind}:{}", random.below(KEYS_OF_A_TYPE))),
    }
}

fn value(random: &mut Random) -> Vec<u8> {
    let filler = |length: usize| vec![b'x'; length];
    match random.below(40) {
        0 => odd(random),
        1 => filler(*random.choose(&[43, 44, 45, 63, 64, 65])),
        // In between it depends on the key's length whether a string is embedded.
        2 => filler(20 + random.below(60)),
        3 if random.percent(30) => filler(130 + random.below(300)),
        3 => (0..random.below(30)).map(|_| random.bits() as u8).collect(),
        4 if random.percent(8) => filler(*random.choose(&[4096, 8191, 20_000])),
        5..=8 => float(random),
        9..=22 => integer(random),
        _ => text(*random.choose(&["a", "b", "c", "hello", "ohmytext", "mynewtext", "foobar"])),
    }
}

fn member(random: &mut Random) -> Vec<u8> {
    match random.below(30) {
        0 => value(random),
        1..=4 => text(random.between(-3, 40).to_string()),
        5 => text(format!("f{}", random.below(200))),
        _ => text(format!("f{}", random.below(12))),
    }
}

fn integer(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0 => odd(random),
        1 => text(*random.choose(&["9223372036854775806", "-9223372036854775807", "10000"])),
        2 => text(random.between(-70_000, 70_000).to_string()),
        _ => text(random.between(-10, 20).to_string()),
    }
}

fn float(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0 => odd(random),
        1 => text(*random.choose(&[
            "1e17", "1.7e308", "-1.7e308", "5e-324", "0.1", "3.0", "1e21",
        ])),
        2..=8 => text(format!(
            "{}.{}",
            random.between(-20, 20),
            random.below(1000)
        )),
        _ => text(random.between(-10, 20).to_string()),
    }
}

/// Relative times are drawn from so many that the same is hardly drawn twice: the servers run a
/// command at different milliseconds, so equal times would compare differently.
fn time(kind: &str, random: &mut Random) -> Vec<u8> {
    if random.percent(8) {
        return random.choose(&ODD_BUT_SAFE).to_vec();
    }
    if random.percent(6) {
        return text(*random.choose(&["0", "-5", "-100000"]));
    }
    let number = match kind {
        "ttl" => random.between(10_000, 9_000_000),
        "pttl" => random.between(10_000_000, 9_000_000_000),
        "at" if random.percent(10) => 1,
        "at" => FAR_S + random.between(0, 1000),
        _ if random.percent(10) => 1,
        _ => FAR_S * 1000 + random.between(0, 1_000_000),
    };
    text(number.to_string())
}

fn offset(kind: &str, random: &mut Random) -> Vec<u8> {
    match (random.below(40), kind) {
        (0, _) => text(*random.choose(&["-1", "4294967296", "9223372036854775807", "abc", ""])),
        (1, _) => text(random.below(20_000).to_string()),
        (2..=9, "bits") => text(format!("#{}", random.below(20))),
        _ => text(random.below(100).to_string()),
    }
}

fn bound(kind: &str, random: &mut Random) -> Vec<u8> {
    let low = kind.ends_with("min");
    match (kind, random.below(10)) {
        ("score", 0) => text(*random.choose(&["inf", "-inf", "+inf", "-0", "1e-5"])),
        ("score", _) => float(random),
        ("lexmin" | "lexmax", 0 | 1) => text(if low { "-" } else { "+" }),
        ("lexmin" | "lexmax", 2) => text(*random.choose(&["+", "-", "(", "[", "", "a", "(f"])),
        ("lexmin" | "lexmax", draw) => {
            let mut bound = text(if draw % 2 == 0 { "(" } else { "[" });
            bound.extend(member(random));
            bound
        }
        (_, 0 | 1) => text(if low { "-inf" } else { "+inf" }),
        (_, 2 | 3) => [b"(".to_vec(), float(random)].concat(),
        _ => float(random),
    }
}

fn stream(kind: &str, random: &mut Random) -> Vec<u8> {
    match kind {
        "group" => text(*random.choose(&["g1", "g1", "g2", "none"])),
        "consumer" => text(*random.choose(&["c1", "c2", "c3"])),
        // Either everything is idle long enough, or nothing.
        "idle" => text(*random.choose(&["0", "0", "0", "100000000", "-1", "abc"])),
        "newid" => match random.below(20) {
            0 => odd(random),
            1 => text(*random.choose(&["0-0", "0-1", "5", "5-*", "18446744073709551615-*"])),
            2..=6 => text(format!("{}-*", random.below(60))),
            _ => text(format!("{}-{}", random.below(60), random.below(5))),
        },
        _ => match random.below(24) {
            0 => odd(random),
            1 => text(*random.choose(&["(5", "(0-1", "$", ">", "(-", "18446744073709551615"])),
            2..=5 => text("-"),
            6..=9 => text("+"),
            10 => text("0"),
            _ => text(format!("{}-{}", random.below(60), random.below(5))),
        },
    }
}

fn geo(kind: &str, random: &mut Random) -> Vec<u8> {
    let (kind, usual) = match kind {
        "lon" => (kind, random.between(-180_000, 180_000)),
        "lat" => (kind, random.between(-85_000, 85_000)),
        "unit" => {
            let units = ["m", "km", "ft", "mi", "KM", "yards"];
            let at = random.below(30);
            return text(units[if at < 5 { at } else { at % 2 }.min(5)]);
        }
        other => (other, random.between(0, 5_000_000)),
    };
    match random.below(30) {
        0 => odd(random),
        1 if kind == "lat" => text("85.05112878"),
        _ => text(format!("{}", usual as f64 / 1000.0)),
    }
}

fn name(kind: &str, random: &mut Random) -> Vec<u8> {
    text(match kind {
        "sortkey" => *random.choose(&["s:*", "h:*->f1", "w*", "*", "h:*->", "f*"]),
        "sortby" => *random.choose(&["s:*", "h:*->f1", "nosort", "w*", "*", "#", "h:*->", "f*"]),
        "function" => *random.choose(&["fa", "fb", "fro", "nofn"]),
        "channel" => *random.choose(&["ch1", "ch2", "news.a", "news.b", ""]),
        "field" => *random.choose(&["f1", "f2", "f3"]),
        _ => *random.choose(&[
            "return 1",
            "return {1,2,'a',{3}}",
            "return redis.call('GET',KEYS[1])",
            "return redis.pcall('INCR',KEYS[1])",
            "return {ok='fine'}",
            "return {err='MY error'}",
            "return redis.error_reply('My Err')",
            "return nonexistent",
            "this is not lua",
            "return 3.99",
            "return true",
            "return false",
            "return {double=3.5}",
            "return {map={a=1}}",
            "redis.setresp(3); return redis.call('HGETALL',KEYS[1])",
            "return cjson.encode({1,2,{a=1}})",
            "return cjson.decode(ARGV[1])",
            "return redis.sha1hex(ARGV[1] or '')",
            "return cmsgpack.pack({1,2,3,ARGV[1]})",
            "return #ARGV + #KEYS",
            "local t = redis.call('TYPE',KEYS[1]); return t",
            "return tostring(redis.call('GET',KEYS[1]))",
            "error('oops')",
            "error({err='ERR custom'})",
            "return {1,nil,3}",
            "return redis.call('NOSUCH')",
            "return redis.call()",
            "return redis.call('SET',KEYS[1])",
            "return string.format('%.17g', tonumber(ARGV[1]) or 0)",
            "redis.call('SET',KEYS[1],'x'); error('late')",
            "return struct.pack('>I2', 5)",
            "return bit.band(7, 3)",
            "x = 1",
            "return redis.call('ZADD',KEYS[1],1,'a')",
        ]),
    })
}
