//! Asks the brokers, in a thread of its own, where the partitions end and how many there are.
//!
//! That a partition held nothing more at some time can only be known from an answer to a question that was
//! asked at that time: a consumer that has got nothing may as well be cut off from its broker.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::trouble::Context;

/// How often the ends are asked for: a partition that holds nothing delays windows by as much. Costs two
/// small requests of a millisecond a partition.
const EVERY_MS: i64 = 1_000;

/// How often new partitions are looked for, in questions.
const COUNT_EVERY: u64 = 5;

/// How long one answer may take: no answer is no harm, the next question follows.
const PATIENCE: Duration = Duration::from_secs(5);

/// A thread that asks.
pub struct Probe {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
    /// When the last question was asked, and whether it is still open.
    asked_ms: Option<i64>,
    open: bool,
    number: u64,
}

struct Question {
    now_ms: i64,
    partitions: Vec<i32>,
    count: bool,
}

/// What the brokers said.
pub struct Answer {
    /// The wall clock when they were asked.
    pub asked_ms: i64,
    /// Partitions, with the offset that the next record gets; those without an answer are left out.
    pub ends: Vec<(i32, i64)>,
    /// How many partitions the topic has, if that was asked and answered.
    pub partitions: Option<usize>,
}

impl Probe {
    /// Starts the thread. It ends, within 5 s, after the probe is gone.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(consumer: Arc<BaseConsumer<Context>>, topic: &str) -> io::Result<Self> {
        let (questions, asked) = channel::<Question>();
        let (answer, answers) = channel();
        let topic = topic.to_string();
        thread::Builder::new().name("probe".into()).spawn(move || {
            // Until nobody asks, or nobody listens.
            while let Ok(question) = asked.recv()
                && answer.send(ask(&consumer, &topic, &question)).is_ok()
            {}
        })?;
        Ok(Probe { questions, answers, asked_ms: None, open: false, number: 0 })
    }

    /// The answer to the last question, once; asks the next one when it is time. Never waits.
    pub fn next(&mut self, now_ms: i64, partitions: impl Iterator<Item = i32>) -> Option<Answer> {
        let answer = self.answers.try_recv().ok();
        self.open &= answer.is_none();
        // A clock that was set back must not end the questions.
        let due = self.asked_ms.is_none_or(|asked_ms| !(asked_ms..asked_ms + EVERY_MS).contains(&now_ms));
        if !self.open && due {
            let count = self.number % COUNT_EVERY == COUNT_EVERY - 1;
            let question = Question { now_ms, partitions: partitions.collect(), count };
            self.open = self.questions.send(question).is_ok();
            (self.asked_ms, self.number) = (Some(now_ms), self.number + 1);
        }
        answer
    }
}

fn ask(consumer: &BaseConsumer<Context>, topic: &str, question: &Question) -> Answer {
    let end = |&partition: &i32| {
        let (_, end) = consumer.fetch_watermarks(topic, partition, PATIENCE).ok()?;
        Some((partition, end))
    };
    let ends = question.partitions.iter().map_while(end).collect();
    let metadata = question.count.then(|| consumer.fetch_metadata(Some(topic), PATIENCE).ok()).flatten();
    let partitions = metadata.and_then(|metadata| Some(metadata.topics().first()?.partitions().len()));
    Answer { asked_ms: question.now_ms, ends, partitions }
}
