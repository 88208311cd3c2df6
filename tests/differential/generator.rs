//! Draws what is sent: single commands, transactions, and commands from within scripts; most as
//! their syntax says, some with a mistake put in.

use super::grammar::Syntax;
use super::random::Random;
use super::rules::Rule;
use super::templates::{BLOCKING, FAMILIES};
use super::values::{self, ODD, ODD_BUT_SAFE};

/// A command and how its replies are compared.
#[derive(Debug, Clone)]
pub struct Command {
    /// Name and arguments.
    pub args: Vec<Vec<u8>>,
    /// How replies compare.
    pub rule: Rule,
}

impl Command {
    /// A command whose replies must be the same.
    pub fn exact<A: AsRef<[u8]>>(args: &[A]) -> Command {
        Command::of(Rule::Exact, args)
    }

    /// A command.
    pub fn of<A: AsRef<[u8]>>(rule: Rule, args: &[A]) -> Command {
        let args = args.iter().map(|arg| arg.as_ref().to_vec()).collect();
        Command { args, rule }
    }
}

type Template = (Rule, Syntax);

/// Draws commands from the templates.
pub struct Generator {
    families: Vec<(usize, Vec<Template>)>,
    blocking: Vec<Template>,
}

/// What a script does with its arguments: a command and its arguments.
const WRAPPERS: [&str; 4] = [
    "return redis.call(unpack(ARGV))",
    "return redis.pcall(unpack(ARGV))",
    "redis.setresp(3); return redis.call(unpack(ARGV))",
    "local r = server.call(unpack(ARGV)); return {type(r), r}",
];

impl Generator {
    /// Parses all templates.
    pub fn new() -> Generator {
        let parse = |templates: &'static [(Rule, &'static str)]| {
            let one = |(rule, template): &(Rule, &'static str)| (*rule, Syntax::parse(template));
            templates.iter().map(one).collect()
        };
        let families = FAMILIES.iter();
        Generator {
            families: families
                .map(|(weight, list)| (*weight, parse(list)))
                .collect(),
            blocking: parse(BLOCKING),
        }
    }

    /// Appends one command, or several that belong together.
    pub fn draw(&self, random: &mut Random, out: &mut Vec<Command>) {
        match random.below(100) {
            0..=2 => self.transaction(random, out),
            3..=6 => {
                let inner = self.any(random);
                if !matches!(inner.rule, Rule::Member) {
                    out.push(in_script(random, inner));
                }
            }
            7 => {
                let inner = self.any(random).args;
                let subcommand = *random.choose(&["GETKEYS", "GETKEYSANDFLAGS"]);
                let mut args = vec![b"COMMAND".to_vec(), subcommand.into()];
                args.extend(inner);
                out.push(Command {
                    args,
                    rule: Rule::Exact,
                });
            }
            8 => {
                let mut args: Vec<Vec<u8>> = vec!["ACL".into(), "DRYRUN".into(), "default".into()];
                args.extend(self.any(random).args);
                out.push(Command {
                    args,
                    rule: Rule::Exact,
                });
            }
            _ => {
                let command = self.any(random);
                if command.rule == Rule::Member {
                    out.extend(everything_of(&command));
                }
                out.push(command);
            }
        }
    }

    fn any(&self, random: &mut Random) -> Command {
        let all: usize = self.families.iter().map(|(weight, _)| weight).sum();
        let mut drawn = random.below(all);
        let family = self.families.iter().find(|(weight, _)| {
            let found = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            found
        });
        let (_, templates) = family.expect("the weights add up");
        from_template(random, templates)
    }

    fn transaction(&self, random: &mut Random, out: &mut Vec<Command>) {
        if random.percent(30) {
            out.push(Command::exact(&[
                b"WATCH",
                &values::draw("watched", random)[..],
            ]));
        }
        if random.percent(20) {
            out.push(self.any(random));
        }
        out.push(Command::exact(&["MULTI"]));
        for _ in 0..1 + random.below(5) {
            let command = match random.below(4) {
                0 => from_template(random, &self.blocking),
                _ => self.any(random),
            };
            // What ends the transaction early would have the rest wait.
            let name = command.args[0].to_ascii_uppercase();
            if name != b"EXEC" && name != b"DISCARD" {
                out.push(command);
            }
        }
        out.push(Command::exact(&[if random.percent(93) {
            "EXEC"
        } else {
            "DISCARD"
        }]));
    }
}

fn from_template(random: &mut Random, templates: &[Template]) -> Command {
    let (rule, syntax) = random.choose(templates);
    let mut args = syntax.draw(random);
    if random.percent(4) {
        mutate(random, &mut args, syntax.delicate);
    }
    spare(&mut args);
    if args[0].eq_ignore_ascii_case(b"CLIENT") {
        // The peer looks at names up to a zero byte only, and lets line ends behind it in.
        args.iter_mut()
            .for_each(|arg| arg.retain(|&byte| byte != 0));
    }
    Command { args, rule: *rule }
}

/// Takes out what the peer does not do as it means to, or not in a defined way.
fn spare(args: &mut Vec<Vec<u8>>) {
    match &args[0].to_ascii_uppercase()[..] {
        // Its sums with the largest integers overflow.
        b"LSET" | b"BITFIELD" => args.retain(|arg| arg.len() < 19),
        // It looks for the options from the key on, and takes a key for one of them.
        b"HGETEX" | b"HSETEX" => {
            if let Some(key) = args.get_mut(1)
                && !key.contains(&b':')
            {
                *key = b"h:0".to_vec();
            }
        }
        // A cursor that no scan gave means nothing.
        b"SCAN" | b"HSCAN" | b"SSCAN" | b"ZSCAN" => {
            let number = |arg: &Vec<u8>| String::from_utf8_lossy(arg).trim().parse::<u64>().is_ok();
            let at = if args[0].len() == 4 { 1 } else { 2 };
            if let Some(cursor) = args.get_mut(at).filter(|cursor| number(cursor)) {
                *cursor = b"0".to_vec();
            }
        }
        // Members are in order by name only if all have one score.
        b"ZADD" if args.get(1).is_some_and(|key| key.starts_with(b"y:")) => {
            for score in args.iter_mut().skip(2).step_by(2) {
                *score = b"0".to_vec();
            }
        }
        _ => {}
    }
}

fn in_script(random: &mut Random, inner: Command) -> Command {
    let wrapper = *random.choose(&WRAPPERS);
    let mut args: Vec<Vec<u8>> = vec!["EVAL".into(), wrapper.into(), "0".into()];
    args.extend(inner.args);
    // The last wrapper nests the reply, where its order cannot be passed over.
    let ordered = matches!(inner.rule, Rule::Exact | Rule::Stream);
    let rule = match (wrapper, inner.rule) {
        (wrapper, _) if wrapper == WRAPPERS[3] && !ordered => Rule::Shape,
        // Lua tables have no order, so maps of RESP3 come out in any.
        (wrapper, Rule::Exact) if wrapper == WRAPPERS[2] => Rule::Nested,
        (wrapper, Rule::Stream) if wrapper == WRAPPERS[2] => Rule::Shape,
        (_, rule) => rule,
    };
    Command { args, rule }
}

/// What reads all that a command may draw from.
pub fn everything_of(command: &Command) -> Option<Command> {
    let key = command.args.get(1)?;
    let name = command.args[0].to_ascii_uppercase();
    let (rule, name, rest): (_, &[u8], &[&[u8]]) = match &name[..] {
        b"SRANDMEMBER" => (Rule::Unordered, b"SMEMBERS", &[]),
        b"HRANDFIELD" => (Rule::Pairs, b"HGETALL", &[]),
        b"ZRANDMEMBER" => (Rule::Exact, b"ZRANGE", &[b"0", b"-1", b"WITHSCORES"]),
        _ => return None,
    };
    let args = [&[name, key], rest].concat();
    Some(Command::of(rule, &args))
}

/// Puts a mistake in.
fn mutate(random: &mut Random, args: &mut Vec<Vec<u8>>, delicate: bool) {
    let at = random.below(args.len());
    let odd: &[&[u8]] = if delicate { &ODD_BUT_SAFE } else { &ODD };
    match random.below(8) {
        // Never the name: FLUSHDB SYNC would become another command.
        0 if args.len() > 1 => drop(args.remove(at.max(1))),
        1 => args.insert(at, args[at].clone()),
        2 | 3 if at > 0 => args[at] = random.choose(odd).to_vec(),
        4 if !delicate => {
            let other = 1 + random.below(args.len().max(2) - 1);
            if at > 0 && other < args.len() {
                args.swap(at, other);
            }
        }
        5 => args.push(random.choose(odd).to_vec()),
        6 => args.truncate(1 + random.below(args.len())),
        _ => args[at].make_ascii_lowercase(),
    }
}
