//! A small blocking RESP client for tests.
//!
//! It reads every type of RESP2 and RESP3 into [`Reply`] and lets a test write any bytes it likes.
//! It is written apart from the server's own parser on purpose: a mistake there must not be
//! hidden by the same mistake here.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a read waits before the test fails.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// One reply. `Null` stands for `_`, `$-1` and `*-1` alike.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Reply>),
    Double(f64),
    Boolean(bool),
    BigNumber(String),
    /// The text of a verbatim string with its three-letter format.
    Verbatim(String, Vec<u8>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
}

impl Reply {
    /// `+OK`, the most frequent expectation.
    pub fn ok() -> Self {
        Reply::Simple("OK".into())
    }

    /// A bulk string of these bytes.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Reply::Bulk(bytes.as_ref().to_vec())
    }

    /// The text of a bulk, simple, verbatim or error reply; `None` for the others.
    pub fn text(&self) -> Option<String> {
        match self {
            Reply::Simple(text) | Reply::Error(text) | Reply::BigNumber(text) => Some(text.clone()),
            Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => {
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
            _ => None,
        }
    }

    /// The first word of an error (`ERR`, `WRONGTYPE`, …); `None` if this is no error.
    pub fn error_code(&self) -> Option<&str> {
        match self {
            Reply::Error(text) => text.split(' ').next(),
            _ => None,
        }
    }
}

/// Writes one command as a RESP array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut frame = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        frame.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        frame.extend_from_slice(arg);
        frame.extend_from_slice(b"\r\n");
    }
    frame
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a port of 127.0.0.1.
    pub fn connect(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, READ_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        Ok(Self {
            stream: BufReader::with_capacity(1 << 16, stream),
        })
    }

    /// Sends a command and reads its reply. Panics if the connection fails.
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.send(&encode(args));
        self.read()
    }

    /// Writes raw bytes. Panics if the connection fails.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes the bytes");
    }

    /// Writes raw bytes.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Writes `bytes` from a second thread while reading `replies` replies, so that neither side
    /// waits for the other's full socket buffer.
    pub fn pipeline(&mut self, bytes: &[u8], replies: usize) -> Vec<Reply> {
        self.pipeline_after(bytes, replies, || {})
    }

    /// The same, reading only once `meanwhile` has returned.
    pub fn pipeline_after(
        &mut self,
        bytes: &[u8],
        replies: usize,
        meanwhile: impl FnOnce(),
    ) -> Vec<Reply> {
        let mut writer = self.stream.get_ref().try_clone().expect("a socket clones");
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(bytes).expect("the server takes the bytes"));
            meanwhile();
            (0..replies).map(|_| self.read()).collect()
        })
    }

    /// Reads one reply. Panics if the connection fails or the bytes are no RESP.
    pub fn read(&mut self) -> Reply {
        self.try_read().expect("a reply comes")
    }

    /// Reads one reply; attributes before it are skipped.
    pub fn try_read(&mut self) -> io::Result<Reply> {
        let line = self.read_line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| malformed(&line))?;
        Ok(match kind {
            "+" => Reply::Simple(rest.into()),
            "-" => Reply::Error(rest.into()),
            ":" => Reply::Integer(number(rest)?),
            "$" => match number(rest)? {
                -1 => Reply::Null,
                length => Reply::Bulk(self.read_blob(length)?),
            },
            "!" => {
                let text = self.read_blob(number(rest)?)?;
                Reply::Error(String::from_utf8_lossy(&text).into_owned())
            }
            "=" => {
                let blob = self.read_blob(number(rest)?)?;
                let (format, text) = blob.split_at_checked(4).ok_or_else(|| malformed(&line))?;
                Reply::Verbatim(String::from_utf8_lossy(&format[..3]).into(), text.to_vec())
            }
            "*" => match number(rest)? {
                -1 => Reply::Null,
                length => Reply::Array(self.read_elements(length)?),
            },
            "~" => Reply::Set(self.read_elements(number(rest)?)?),
            ">" => Reply::Push(self.read_elements(number(rest)?)?),
            "%" => Reply::Map(self.read_pairs(number(rest)?)?),
            "|" => {
                self.read_pairs(number(rest)?)?;
                return self.try_read();
            }
            "_" => Reply::Null,
            "#" => Reply::Boolean(rest == "t"),
            "," => Reply::Double(rest.parse().map_err(|_| malformed(&line))?),
            "(" => Reply::BigNumber(rest.into()),
            _ => return Err(malformed(&line)),
        })
    }

    /// Reads until the server closes the connection, and gives what came before.
    pub fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
            _ => Ok(rest),
        }
    }

    /// Tells the server that nothing more will be written; replies can still be read.
    pub fn shutdown_write(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn read_blob(&mut self, length: i64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(|_| malformed("a negative length"))?;
        let mut blob = vec![0; length];
        self.stream.read_exact(&mut blob)?;
        let mut end = [0; 2];
        self.stream.read_exact(&mut end)?;
        if &end != b"\r\n" {
            return Err(malformed("a bulk string without its line end"));
        }
        Ok(blob)
    }

    fn read_elements(&mut self, length: i64) -> io::Result<Vec<Reply>> {
        (0..length).map(|_| self.try_read()).collect()
    }

    fn read_pairs(&mut self, length: i64) -> io::Result<Vec<(Reply, Reply)>> {
        (0..length)
            .map(|_| Ok((self.try_read()?, self.try_read()?)))
            .collect()
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| malformed(text))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not RESP: {what:?}"))
}
