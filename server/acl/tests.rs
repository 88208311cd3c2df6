//! Rules, the checks that follow from them, and the table of users.

use super::Acl;
use super::check::{Denial, check};
use super::rule::{NewChannels, RuleError};
use super::user::User;
use crate::commands::table::table;

fn user(rules: &[&str]) -> User {
    let mut user = User::new(b"u", NewChannels::None);
    let words: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
    user.apply_all(&words).expect("valid rules");
    user
}

fn try_in(user: &User, db: u32, words: &str) -> Result<(), Denial> {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    check(user, table().find(&args).expect("a command"), &args, db)
}

fn try_it(user: &User, words: &str) -> Result<(), Denial> {
    try_in(user, 0, words)
}

#[test]
fn a_description_makes_the_same_user_again() {
    let text = "on #e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 \
                %R~a %W~b ~c resetchannels &x db=1,4 +@all -@hash +hget \
                (~k resetchannels resetdbs -@all +config|get +select|0)";
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let first = user(&words);
    assert_eq!(String::from_utf8_lossy(&first.describe()), words.join(" "));
    let line = first.line();
    let again: Vec<&str> = std::str::from_utf8(&line)
        .expect("plain text")
        .split(' ')
        .skip(2)
        .collect();
    assert_eq!(user(&again).line(), line);
}

#[test]
fn the_strictest_permission_of_a_key_counts() {
    let user = user(&["+@all", "%R~read*", "%W~write*", "~rw*"]);
    assert_eq!(try_it(&user, "get read"), Ok(()));
    assert_eq!(try_it(&user, "get write"), Err(Denial::Key(1)));
    assert_eq!(try_it(&user, "set write get"), Ok(()));
    assert_eq!(try_it(&user, "set write x get"), Err(Denial::Key(1)));
    assert_eq!(try_it(&user, "copy read write"), Ok(()));
    assert_eq!(try_it(&user, "copy write read"), Err(Denial::Key(1)));
    assert_eq!(try_it(&user, "bitfield read get u4 0"), Ok(()));
    assert_eq!(
        try_it(&user, "bitfield read set u4 0 1"),
        Err(Denial::Key(1))
    );
    assert_eq!(try_it(&user, "mget read rw other"), Err(Denial::Key(3)));
    assert_eq!(try_it(&user, "type write"), Ok(()));
}

#[test]
fn each_selector_stands_for_itself() {
    let user = user(&["(+get ~a)", "(+set", "~b)"]);
    assert_eq!(try_it(&user, "get a"), Ok(()));
    assert_eq!(try_it(&user, "set b 1"), Ok(()));
    assert_eq!(try_it(&user, "get b"), Err(Denial::Key(1)));
    assert_eq!(try_it(&user, "del a"), Err(Denial::Command(0)));
}

#[test]
fn databases_are_checked_where_keys_or_numbers_are() {
    let user = user(&["+@all", "~*", "&*", "db=1,2"]);
    assert!(!user.is_unrestricted());
    assert_eq!(try_in(&user, 0, "get a"), Err(Denial::Database(0)));
    assert_eq!(try_in(&user, 1, "get a"), Ok(()));
    assert_eq!(try_in(&user, 0, "select 1"), Ok(()));
    assert_eq!(try_in(&user, 1, "select 3"), Err(Denial::Database(1)));
    assert_eq!(try_in(&user, 0, "swapdb 1 3"), Err(Denial::Database(2)));
    assert_eq!(
        try_in(&user, 1, "copy a b replace db 3"),
        Err(Denial::Database(5))
    );
    assert_eq!(try_in(&user, 1, "flushall"), Err(Denial::Database(0)));
    assert_eq!(try_in(&user, 0, "ping"), Ok(()));
    assert_eq!(try_in(&user, 0, "publish a b"), Ok(()));
}

#[test]
fn only_everything_is_unrestricted() {
    assert!(User::default_user().is_unrestricted());
    for less in ["-get", "resetkeys", "resetchannels", "db=0", "-@all"] {
        let mut user = User::default_user();
        user.apply(less.as_bytes()).expect("a valid rule");
        assert!(!user.is_unrestricted(), "{less}");
    }
}

#[test]
fn passwords_are_kept_as_hashes() {
    let mut user = user(&["on", ">one", ">two", ">one"]);
    assert_eq!(user.passwords().len(), 2);
    assert!(user.accepts(b"one") && user.accepts(b"two"));
    assert!(!user.accepts(b"three") && !user.accepts(b""));
    assert_eq!(user.apply(b"<three"), Err(RuleError::NoSuchPassword));
    assert_eq!(user.apply(b"#abc"), Err(RuleError::BadHash));
    user.apply(b"<one").expect("it was there");
    assert!(!user.accepts(b"one"));
    let shown = String::from_utf8(user.describe()).expect("plain text");
    assert!(!shown.contains("two"), "{shown}");
}

#[test]
fn a_rule_that_is_refused_leaves_the_user_as_it_was() {
    let acl = Acl::default();
    let change = |words: &[&[u8]]| acl.change(b"bob", |user| user.apply_all(words)).is_ok();
    assert!(!change(&[b"on", b"+nosuchcommand"]));
    assert!(acl.user(b"bob").is_none());
    assert!(change(&[b"on", b">pw", b"+get"]));
    assert!(!change(&[b"-get", b"(+set"]));
    let bob = acl.authenticate(b"bob", b"pw").expect("the right password");
    assert_eq!(bob.describe(), acl.user(b"bob").expect("bob").describe());
    assert!(bob.describe().ends_with(b"-@all +get"));
    assert!(acl.authenticate(b"bob", b"other").is_none());
}
