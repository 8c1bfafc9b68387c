//! A program that is run: what it prints is handed on line by line, or answer by answer; it is ended with us.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// What a program prints at a time; more waits in the pipe.
const CHUNK_BYTES: usize = 1 << 16;

/// The longest answer: 30,000 domains of 300 bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// A running program; killed when it is dropped.
#[derive(Debug)]
pub struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command; its messages go where ours go.
fn start(command: &[String], stdin: Stdio) -> io::Result<Program> {
    let (name, args) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // A fixed language: some programs write decimal commas in others.
    let mut command = Command::new(name);
    command.args(args).env("LC_ALL", "C").stdin(stdin).stdout(Stdio::piped());
    // A Ctrl-C is for us: we end it.
    command.process_group(0).spawn().map(Program)
}

/// Reads lines (without their ends, cut off at `limit_bytes`) to their end; stops when `each` says so.
pub fn lines(from: impl Read, limit_bytes: usize, mut each: impl FnMut(Vec<u8>) -> bool) {
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        let read = from.by_ref().take(limit_bytes as u64).read_until(b'\n', &mut line);
        if !read.is_ok_and(|length| length > 0) {
            return;
        }
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        if !each(line) {
            return;
        }
    }
}

/// Runs a command; each of its lines goes to `each`, in a thread of its own, and at its end `None`.
///
/// # Errors
/// When it cannot be started.
pub fn follow(
    command: &[String],
    limit_bytes: usize,
    mut each: impl FnMut(Option<Vec<u8>>) -> bool + Send + 'static,
) -> io::Result<Program> {
    let mut program = start(command, Stdio::null())?;
    if let Some(out) = program.0.stdout.take() {
        thread::spawn(move || {
            lines(out, limit_bytes, |line| each(Some(line)));
            each(None);
        });
    }
    Ok(program)
}

/// Runs a command to its end, and gives what it printed.
///
/// # Errors
/// When it cannot be started, fails, or takes longer than `patience`.
pub fn output(command: &[String], patience: Duration) -> io::Result<String> {
    let mut session = Session::start(command)?;
    session.stdin = None;
    let mut text = Vec::new();
    while let Some(chunk) = session.chunk(patience)? {
        text.extend(chunk);
    }
    let status = session.program.0.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("{} ended with {status}", command.join(" "))));
    }
    String::from_utf8(text).map_err(io::Error::other)
}

/// A program that is asked again and again.
#[derive(Debug)]
pub struct Session {
    program: Program,
    stdin: Option<ChildStdin>,
    chunks: Receiver<Vec<u8>>,
}

impl Session {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &[String]) -> io::Result<Session> {
        let mut program = start(command, Stdio::piped())?;
        let (stdin, stdout) = (program.0.stdin.take(), program.0.stdout.take());
        let (sender, chunks) = sync_channel(4);
        thread::spawn(move || {
            let Some(mut from) = stdout else { return };
            let mut chunk = vec![0; CHUNK_BYTES];
            while let Ok(read @ 1..) = from.read(&mut chunk) {
                if sender.send(chunk[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Session { program, stdin, chunks })
    }

    /// Writes `question`, and gives what is printed until `is_whole` says that it is all.
    ///
    /// # Errors
    /// When it has ended, or falls silent for `patience`, or does not stop.
    pub fn ask(
        &mut self,
        question: &str,
        patience: Duration,
        is_whole: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Vec<u8>> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(question.as_bytes()).and_then(|()| stdin.flush())?;
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            answer.extend(self.chunk(patience)?.ok_or(io::ErrorKind::UnexpectedEof)?);
            if answer.len() > MAX_ANSWER_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(answer)
    }

    /// What was printed next; `None` at the end.
    fn chunk(&mut self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        match self.chunks.recv_timeout(patience) {
            Ok(chunk) => Ok(Some(chunk)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn lines_are_bounded() {
        let mut all = vec![];
        lines(&b"a\r\nlonger\n\nb"[..], 4, |line| {
            all.push(String::from_utf8(line).unwrap());
            true
        });
        assert_eq!(all, ["a", "long", "er", "", "b"]);
    }

    #[test]
    fn a_program_is_followed_and_asked() {
        let (sender, said) = std::sync::mpsc::channel();
        let _program = follow(&sh("echo one; echo two"), 99, move |line| sender.send(line).is_ok()).unwrap();
        assert_eq!(
            said.iter().take(3).collect::<Vec<_>>(),
            [Some(b"one".to_vec()), Some(b"two".to_vec()), None]
        );
        let mut session = Session::start(&["cat".to_string()]).unwrap();
        for text in ["a\n", "b\n"] {
            let whole = |answer: &[u8]| answer.ends_with(b"\n");
            assert_eq!(session.ask(text, PATIENCE, whole).unwrap(), text.as_bytes());
        }
        let silent = session.ask("", Duration::from_millis(20), |answer| !answer.is_empty()).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn output_is_of_those_that_succeed() {
        assert_eq!(output(&sh("echo a; echo b"), PATIENCE).unwrap(), "a\nb\n");
        assert!(output(&sh("exit 3"), PATIENCE).unwrap_err().to_string().contains("exit status: 3"));
        assert_eq!(
            output(&sh("sleep 60"), Duration::from_millis(50)).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert!(output(&["/no/such/program".to_string()], PATIENCE).is_err());
    }
}
