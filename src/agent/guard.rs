//! The agent's side of its keeper.

use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use super::keeper::{Charge, Word};

/// How long an answer may take: what hangs so long can be relied on no more. A busy machine takes 0.1 s.
const PATIENCE: Duration = Duration::from_millis(800);

/// How long its start may take, from disk.
const START: Duration = Duration::from_secs(3);

/// A keeper that has answered.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    said: u64,
}

impl Guard {
    /// Starts a keeper, and hears that it is there.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer.
    pub fn start(charge: &Charge) -> io::Result<Guard> {
        // What runs now, also where the file was replaced.
        let mut child = Command::new("/proc/self/exe")
            .args(["perturb", "keeper"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C is for us.
            .process_group(0)
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, answers) = sync_channel(16);
        thread::spawn(move || {
            let said =
                stdout.into_iter().flat_map(|out| io::BufReader::new(out).lines()).map_while(Result::ok);
            said.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        let mut guard = Guard { child, stdin, answers, said: 0 };
        let first = serde_json::to_string(charge)?;
        guard.write(&first)?;
        guard.ask(&Word::Ping, START)?;
        Ok(guard)
    }

    /// Tells it something, and hears that it has understood.
    ///
    /// # Errors
    /// When it does not answer: then it is not to be relied on any more.
    pub fn tell(&mut self, word: &Word) -> io::Result<()> {
        self.ask(word, PATIENCE)
    }

    fn ask(&mut self, word: &Word, patience: Duration) -> io::Result<()> {
        self.said += 1;
        let (number, text) = (self.said.to_string(), serde_json::to_string(word)?);
        self.write(&format!("{number} {text}"))?;
        let answer = self.answers.recv_timeout(patience);
        let answer = answer.map_err(|_| io::Error::other("the keeper does not answer"))?;
        if answer == number { Ok(()) } else { Err(io::Error::other("the keeper answers something else")) }
    }

    /// A line is far shorter than a pipe is long (64 KiB), and who did not answer is told nothing more: it never waits.
    fn write(&mut self, line: &str) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(format!("{line}\n").as_bytes())
    }

    /// Ends it, which holds nothing any more.
    pub fn end(mut self) {
        drop(self.stdin.take());
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // One that does not answer must not wake up later and put back what another one holds.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
