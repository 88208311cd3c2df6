//! Append-only files: commands, the first file's behind a dump perhaps.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::recovery::Replayer;
use super::{Progress, Summary, rdb};
use crate::config::id;
use crate::resp::request::{Parsed, RequestLimits, RequestParser};
use crate::state::Server;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// Loads the files, in their order. What is torn at the end of the last one
/// is left out if `aof-load-truncated` allows it.
pub fn load(server: &'static Server, files: &[PathBuf]) -> Result<Summary, String> {
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let mut summary = Summary::default();
    let mut progress = Progress::new(&paths);
    let tolerant = server.config.read().bool(id("aof-load-truncated"));
    for (number, path) in paths.iter().enumerate() {
        let mut file = CommandFile {
            path,
            may_be_torn: tolerant && number + 1 == paths.len(),
            replayer: Replayer::new(server, 0),
            transaction: None,
            position: 0,
        };
        file.load(server, &mut summary, &mut progress)?;
        progress.end_file(path);
    }
    Ok(summary)
}

struct CommandFile<'f> {
    path: &'f Path,
    may_be_torn: bool,
    replayer: Replayer,
    /// The commands of an open MULTI: they run when EXEC comes, or never.
    transaction: Option<Vec<Vec<Vec<u8>>>>,
    /// Bytes of the file up to the command at hand.
    position: u64,
}

impl CommandFile<'_> {
    fn load(
        &mut self,
        server: &'static Server,
        summary: &mut Summary,
        progress: &mut Progress,
    ) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        let file = File::open(self.path).map_err(failed)?;
        if !rdb::is_dump(self.path).map_err(failed)? {
            return self.run_all(file, Vec::new(), summary, progress);
        }
        // A later command may give a key that has expired a new expiry.
        let (file, read) = rdb::load(server, file, false, summary, progress)
            .map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.run_all(file, read, summary, progress)
    }

    /// Runs the commands of `input`, of which `buffer` is read already.
    fn run_all(
        &mut self,
        mut input: impl Read,
        mut buffer: Vec<u8>,
        summary: &mut Summary,
        progress: &mut Progress,
    ) -> Result<(), String> {
        let limits = RequestLimits {
            max_bulk_bytes: i64::MAX,
            authenticated: true,
        };
        let mut parser = RequestParser::new();
        let mut ranges = Vec::new();
        let mut start = 0;
        loop {
            let rest = &buffer[start..];
            // Annotations stand between commands.
            let annotation = ranges.is_empty() && rest.first() == Some(&b'#');
            let consumed = if annotation {
                rest.iter().position(|&byte| byte == b'\n').map(|at| at + 1)
            } else {
                match parser.next(rest, &limits, &mut ranges) {
                    Ok(Parsed::Complete { consumed }) => {
                        let args = ranges.iter().map(|range| &rest[range.clone()]);
                        self.command(&args.collect::<Vec<_>>(), summary)?;
                        ranges.clear();
                        Some(consumed)
                    }
                    Ok(Parsed::Incomplete { .. }) => None,
                    // What a torn write may have left where the file was
                    // longer before.
                    _ => return Err(self.bad_format()),
                }
            };
            match consumed {
                Some(bytes) => {
                    start += bytes;
                    self.position += bytes as u64;
                    progress.at(self.position, summary);
                }
                None => {
                    buffer.drain(..start);
                    start = 0;
                    let more = input.by_ref().take(CHUNK as u64).read_to_end(&mut buffer);
                    let more = more.map_err(|error| format!("{}: {error}", self.path.display()))?;
                    if more == 0 {
                        return self.end(buffer.len());
                    }
                }
            }
        }
    }

    fn bad_format(&self) -> String {
        format!(
            "Bad file format reading the append only file {}, at byte {} of its commands",
            self.path.display(),
            self.position
        )
    }

    /// Runs a command, or keeps it until its transaction's end.
    fn command(&mut self, args: &[&[u8]], summary: &mut Summary) -> Result<(), String> {
        let is = |word: &str| args[0].eq_ignore_ascii_case(word.as_bytes());
        if is("multi") {
            self.transaction = Some(Vec::new());
        } else if is("exec") {
            for queued in self.transaction.take().unwrap_or_default() {
                let args: Vec<&[u8]> = queued.iter().map(Vec::as_slice).collect();
                self.run(&args, summary)?;
            }
        } else if let Some(queued) = &mut self.transaction {
            queued.push(args.iter().map(|arg| arg.to_vec()).collect());
        } else {
            self.run(args, summary)?;
        }
        Ok(())
    }

    fn run(&mut self, args: &[&[u8]], summary: &mut Summary) -> Result<(), String> {
        if !self.replayer.knows(args) {
            return Err(format!(
                "Unknown command '{}' reading the append only file {}, at byte {} of its commands",
                args[0].escape_ascii(),
                self.path.display(),
                self.position
            ));
        }
        if !self.replayer.fits(args) {
            return Err(format!(
                "{}: wrong number of arguments for '{}'",
                self.bad_format(),
                args[0].escape_ascii()
            ));
        }
        summary.commands += 1;
        if let Err(error) = self.replayer.apply(args) {
            summary.failed += 1;
            tracing::debug!("{error}");
        }
        Ok(())
    }

    /// The file ends with so many bytes of an unfinished command.
    fn end(&self, left: usize) -> Result<(), String> {
        let whole = match (left, &self.transaction) {
            (0, None) => return Ok(()),
            (0, Some(_)) => "an unfinished transaction",
            _ => "an unfinished command",
        };
        let path = self.path.display();
        if self.may_be_torn {
            tracing::warn!("{path} ends with {whole}, which is left out (aof-load-truncated)");
            return Ok(());
        }
        Err(format!(
            "Unexpected end of file reading the append only file {path}: it ends with {whole}. Set aof-load-truncated to leave that out, if it is the last of its files"
        ))
    }
}
