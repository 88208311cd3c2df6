//! The RDB file of a full sync on the wire: `$<length>` and so many bytes, or
//! `$EOF:<mark>` and bytes up to the mark.

/// Length of the mark behind a payload of unknown length.
pub const MARK_BYTES: usize = 40;

/// A payload under way.
#[derive(Debug)]
pub enum Payload {
    /// So many bytes are still to come.
    Counted(u64),
    /// It ends with the mark. The last bytes seen may be its beginning.
    Marked {
        /// What ends it.
        mark: [u8; MARK_BYTES],
        /// The last bytes, at most a mark's length.
        held: Vec<u8>,
    },
}

impl Payload {
    /// Reads what is behind the `$`.
    pub fn parse(rest: &[u8]) -> Option<Payload> {
        if let Some(mark) = rest.strip_prefix(b"EOF:") {
            return Some(Payload::Marked {
                mark: mark.try_into().ok()?,
                held: Vec::new(),
            });
        }
        let digits = std::str::from_utf8(rest).ok()?;
        digits.parse().ok().map(Payload::Counted)
    }

    /// Whether nothing is to come.
    pub fn is_done(&self) -> bool {
        match self {
            Payload::Counted(left) => *left == 0,
            Payload::Marked { mark, held } => held == mark,
        }
    }

    /// Takes what belongs to the payload from the front of `input`: the bytes
    /// of the file are appended to `file`. Gives how many were taken.
    pub fn take(&mut self, input: &[u8], file: &mut Vec<u8>) -> usize {
        match self {
            Payload::Counted(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX);
                let count = count.min(input.len());
                file.extend_from_slice(&input[..count]);
                *left -= count as u64;
                count
            }
            Payload::Marked { mark, held } => {
                let known = held.len();
                let mut joined = std::mem::take(held);
                joined.extend_from_slice(input);
                let end = joined.windows(MARK_BYTES).position(|part| part == mark);
                let (taken, keep_from) = match end {
                    Some(at) => (at + MARK_BYTES, at),
                    None => (joined.len(), joined.len().saturating_sub(MARK_BYTES - 1)),
                };
                file.extend_from_slice(&joined[..keep_from]);
                *held = joined[keep_from..taken].to_vec();
                taken - known
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_payload_ends_at_its_mark_however_it_is_cut() {
        let mark = [b'm'; MARK_BYTES];
        let content = [b"data".as_slice(), &[b'm'; 17], b"more"].concat();
        let wire = [content.as_slice(), &mark, b"stream"].concat();
        for cut in 1..wire.len() {
            let mut payload =
                Payload::parse(&[b"EOF:".as_slice(), &mark].concat()).expect("marked");
            let (mut file, mut at) = (Vec::new(), 0);
            while !payload.is_done() {
                let end = (at + cut).min(wire.len());
                at += payload.take(&wire[at..end], &mut file);
            }
            assert_eq!(file, content, "cut every {cut}");
            assert_eq!(&wire[at..], b"stream", "cut every {cut}");
        }
    }

    #[test]
    fn a_counted_payload_leaves_the_rest() {
        let mut payload = Payload::parse(b"3").expect("counted");
        let mut file = Vec::new();
        assert_eq!(payload.take(b"ab", &mut file), 2);
        assert_eq!(payload.take(b"cde", &mut file), 1);
        assert!(payload.is_done());
        assert_eq!(file, b"abc");
        assert!(Payload::parse(b"-1").is_none());
        assert!(Payload::parse(b"EOF:short").is_none());
    }
}
