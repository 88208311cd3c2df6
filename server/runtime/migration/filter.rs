//! What of the log concerns some slots.

use redoubt_cluster::slot_set::SlotSet;
use redoubt_cluster::slots::Slot;

use crate::commands::effects::encode;
use crate::commands::keys::each_key;
use crate::commands::table::table;
use crate::resp::stream::{CommandStream, Part};
use crate::runtime::recovery::NO_COMMAND;

/// Picks the commands on some slots' keys out of a stream of commands.
pub struct Filter {
    slots: SlotSet,
    stream: CommandStream,
    /// The database that is selected in the stream.
    db: Vec<u8>,
    /// The one that is selected in what was picked.
    picked_db: Option<Vec<u8>>,
    /// What was picked of a transaction that is not complete.
    transaction: Option<Vec<u8>>,
}

/// Where a command belongs.
enum Place {
    /// To the slots.
    Inside,
    /// To others, or to none.
    Outside,
}

impl Filter {
    /// For a stream in which database `db` is selected.
    pub fn new(slots: SlotSet, db: u32) -> Filter {
        Filter {
            slots,
            stream: CommandStream::default(),
            db: db.to_string().into_bytes(),
            picked_db: None,
            transaction: None,
        }
    }

    /// Takes in more of the stream and appends what is picked to `out`. An
    /// error tells why these slots can't be followed any further.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let mut stream = std::mem::take(&mut self.stream);
        let fed = stream.feed(bytes, |part| match part {
            Part::Command { args, raw } => self.take(args, raw, out),
            Part::Filler(_) => Ok(()),
            Part::Garbled => Err(NO_COMMAND.into()),
        });
        self.stream = stream;
        fed
    }

    fn take(&mut self, args: &[&[u8]], raw: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let is = |name: &str| args[0].eq_ignore_ascii_case(name.as_bytes());
        if is("select") && args.len() == 2 {
            self.db = args[1].to_vec();
            return Ok(());
        }
        if is("multi") {
            self.transaction = Some(Vec::new());
            return Ok(());
        }
        if is("exec") {
            let picked = self.transaction.take().unwrap_or_default();
            if !picked.is_empty() {
                encode(out, &[b"MULTI"]);
                out.extend_from_slice(&picked);
                encode(out, &[b"EXEC"]);
            }
            return Ok(());
        }
        match self.place(args)? {
            Place::Outside => {}
            Place::Inside => {
                let to = self.transaction.as_mut().unwrap_or(out);
                if self.picked_db.as_ref() != Some(&self.db) {
                    encode(to, &[b"SELECT", &self.db]);
                    self.picked_db = Some(self.db.clone());
                }
                to.extend_from_slice(raw);
            }
        }
        Ok(())
    }

    fn place(&self, args: &[&[u8]]) -> Result<Place, String> {
        let name = || String::from_utf8_lossy(args[0]).into_owned();
        let found = table()
            .find(args)
            .ok_or_else(|| format!("{} is unknown", name()))?;
        let command = found.command;
        if matches!(command.name, "flushall" | "flushdb" | "swapdb") {
            return Err("Data was flushed".into());
        }
        let (mut inside, mut outside) = (false, false);
        each_key(command, args, |at, _| {
            match self.slots.contains(Slot::of_key(args[at])) {
                true => inside = true,
                false => outside = true,
            }
        });
        match (inside, outside) {
            (true, true) => Err(format!("{} changed keys of several slots", name())),
            (true, false) => Ok(Place::Inside),
            (false, _) => Ok(Place::Outside),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(commands: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for command in commands {
            let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            encode(&mut bytes, &words);
        }
        bytes
    }

    fn filtered(commands: &[&str]) -> Result<Vec<u8>, String> {
        let slots = [Slot::of_key(b"a")].into_iter().collect();
        let mut filter = Filter::new(slots, 0);
        let mut out = Vec::new();
        // Byte by byte: nothing may depend on where reads end.
        for byte in stream(commands) {
            filter.feed(&[byte], &mut out)?;
        }
        Ok(out)
    }

    #[test]
    fn only_the_slots_commands_are_picked_with_their_database() {
        let picked = filtered(&[
            "SELECT 0",
            "SET b 1",
            "SET a 1",
            "PING",
            "SELECT 1",
            "DEL a b{a}",
        ]);
        let expected = stream(&["SELECT 0", "SET a 1", "SELECT 1", "DEL a b{a}"]);
        assert_eq!(picked, Ok(expected));
    }

    #[test]
    fn a_transaction_is_kept_together_and_left_out_if_nothing_of_it_is_picked() {
        let picked = filtered(&[
            "MULTI", "SET b 1", "SET a 1", "INCR a", "EXEC", "MULTI", "SET b 2", "EXEC", "GETDEL a",
        ]);
        let expected = stream(&["MULTI", "SELECT 0", "SET a 1", "INCR a", "EXEC", "GETDEL a"]);
        assert_eq!(picked, Ok(expected));
    }

    #[test]
    fn what_can_t_be_followed_is_an_error() {
        assert_eq!(filtered(&["FLUSHALL"]), Err("Data was flushed".into()));
        assert!(filtered(&["MSET a 1 b 1"]).is_err());
        assert!(filtered(&["NOSUCH a"]).is_err());
    }
}
