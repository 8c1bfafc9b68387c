//! Writes records to files: one a topic in a directory, or all of them to standard output.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::records::{Record, Topic};

/// Where records go.
pub enum Sink {
    /// Every record a line of standard output: `{"topic":…,"key":…,"value":…}`.
    Stdout,
    /// A file `TOPIC.ndjson` for each topic, with lines of the same form.
    Directory(BTreeMap<Topic, (PathBuf, BufWriter<File>)>),
}

/// Records could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct SinkError {
    path: PathBuf,
    source: io::Error,
}

impl Sink {
    /// Opens the directory `path` (made if need be; files of the same name are replaced), or standard
    /// output for `-`.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be made.
    pub fn open(path: &Path) -> Result<Self, SinkError> {
        if path == Path::new("-") {
            return Ok(Sink::Stdout);
        }
        fs::create_dir_all(path).map_err(|source| SinkError { path: path.to_path_buf(), source })?;
        let topics = [Topic::Assignments, Topic::Dependencies, Topic::Events, Topic::DeadLetter];
        let open = |topic: Topic| {
            let path = path.join(format!("{}.ndjson", topic.name()));
            let file = File::create(&path).map_err(|source| SinkError { path: path.clone(), source })?;
            Ok((topic, (path, BufWriter::new(file))))
        };
        Ok(Sink::Directory(topics.into_iter().map(open).collect::<Result<_, _>>()?))
    }

    /// Writes one window's records and hands them to the operating system.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, records: &[Record], stdout: &mut impl Write) -> Result<(), SinkError> {
        match self {
            Sink::Stdout => {
                let written =
                    records.iter().try_for_each(|record| line(record, stdout)).and_then(|()| stdout.flush());
                written.map_err(|source| SinkError { path: "standard output".into(), source })
            }
            Sink::Directory(files) => {
                for record in records {
                    let Some((path, file)) = files.get_mut(&record.topic) else { continue };
                    line(record, file).map_err(|source| SinkError { path: path.clone(), source })?;
                }
                let flush = |(path, file): &mut (PathBuf, BufWriter<File>)| {
                    file.flush().map_err(|source| SinkError { path: path.clone(), source })
                };
                files.values_mut().try_for_each(flush)
            }
        }
    }
}

fn line(record: &Record, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    writeln!(out)
}
