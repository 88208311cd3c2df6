//! Syntax of commands as templates, and drawing commands from them.
//!
//! | notation | what it stands for |
//! |---|---|
//! | `WORD` | itself |
//! | `<name>` | a value of that kind, see [`values`](super::values) |
//! | `(a\|b)` | one of the alternatives |
//! | `[a\|b]` | the same or nothing |
//! | `{a}` | one to four of it, now and then many |
//! | `#{a}` | the same behind their number, which is wrong now and then |
//!
//! Parts stand apart by spaces; brackets nest.

use super::random::Random;
use super::values;

/// A piece of a template.
#[derive(Debug, Clone)]
enum Piece {
    Word(&'static str),
    Hole(&'static str),
    OneOf(Vec<Vec<Piece>>),
    Optional(Vec<Vec<Piece>>),
    Repeated(Vec<Piece>),
    Counted(Vec<Piece>),
}

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Syntax {
    pieces: Vec<Piece>,
    /// Whether an argument decides when something expires or how long a string gets, so that a
    /// careless number there makes the comparison depend on time, or takes half a gigabyte.
    pub delicate: bool,
}

impl Syntax {
    /// Parses a template. Panics if its brackets don't match.
    pub fn parse(template: &'static str) -> Syntax {
        let tokens: Vec<&'static str> = tokens(template);
        let mut at = 0;
        let mut choices = parse_choices(&tokens, &mut at, None);
        assert!(choices.len() == 1, "a bare | in {template:?}");
        let delicate = ["<ttl>", "<pttl>", "<at>", "<pat>", "<offset>", "<bits>"];
        Syntax {
            pieces: choices.remove(0),
            delicate: delicate.iter().any(|hole| template.contains(hole)),
        }
    }

    /// Draws a command.
    pub fn draw(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let mut args = Vec::new();
        expand(&self.pieces, random, &mut args);
        args
    }
}

fn tokens(template: &'static str) -> Vec<&'static str> {
    let mut tokens = Vec::new();
    let mut rest = template;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            return tokens;
        };
        let length = match first {
            '#' if rest[1..].starts_with('{') => 2,
            '(' | ')' | '[' | ']' | '{' | '}' | '|' => 1,
            '<' => rest.find('>').expect("a hole is closed") + 1,
            _ => rest.find([' ', ')', ']', '}', '|']).unwrap_or(rest.len()),
        };
        tokens.push(&rest[..length]);
        rest = &rest[length..];
    }
}

/// Parses alternatives up to the closing bracket, which is consumed.
fn parse_choices(tokens: &[&'static str], at: &mut usize, end: Option<&str>) -> Vec<Vec<Piece>> {
    let mut choices = vec![Vec::new()];
    loop {
        let Some(&token) = tokens.get(*at) else {
            assert!(end.is_none(), "an open bracket in {tokens:?}");
            return choices;
        };
        *at += 1;
        let piece = match token {
            "|" => {
                choices.push(Vec::new());
                continue;
            }
            token if Some(token) == end => return choices,
            "(" => Piece::OneOf(parse_choices(tokens, at, Some(")"))),
            "[" => Piece::Optional(parse_choices(tokens, at, Some("]"))),
            "{" => Piece::Repeated(parse_choices(tokens, at, Some("}")).remove(0)),
            "#{" => Piece::Counted(parse_choices(tokens, at, Some("}")).remove(0)),
            hole if hole.starts_with('<') => Piece::Hole(&hole[1..hole.len() - 1]),
            word => Piece::Word(word),
        };
        choices.last_mut().expect("there is one").push(piece);
    }
}

fn expand(pieces: &[Piece], random: &mut Random, args: &mut Vec<Vec<u8>>) {
    for piece in pieces {
        match piece {
            Piece::Word(word) => args.push(word.as_bytes().to_vec()),
            Piece::Hole(kind) => args.push(values::draw(kind, random)),
            Piece::OneOf(choices) => expand(&choices[random.below(choices.len())], random, args),
            Piece::Optional(choices) => {
                if random.percent(40) {
                    expand(&choices[random.below(choices.len())], random, args);
                }
            }
            Piece::Repeated(inner) => {
                for _ in 0..times(random) {
                    expand(inner, random, args);
                }
            }
            Piece::Counted(inner) => {
                let count = times(random);
                let told = match random.below(60) {
                    0 => values::draw("odd", random),
                    1 => (count + 1).to_string().into_bytes(),
                    _ => count.to_string().into_bytes(),
                };
                args.push(told);
                for _ in 0..count {
                    expand(inner, random, args);
                }
            }
        }
    }
}

fn times(random: &mut Random) -> usize {
    match random.below(50) {
        0 => 5 + random.below(40),
        1..=24 => 1,
        _ => 2 + random.below(3),
    }
}

#[test]
fn a_template_draws_what_it_says() {
    let syntax = Syntax::parse("SET <s> (A|B x) [NX|XX] #{<int> y}");
    let mut random = Random::new(1);
    for _ in 0..200 {
        let args = syntax.draw(&mut random);
        assert_eq!(args[0], b"SET");
        assert!(args[2] == b"A" || (args[2] == b"B" && args[3] == b"x"));
        assert_eq!(args.last().map(Vec::as_slice), Some(&b"y"[..]));
    }
    assert!(!syntax.delicate);
}
