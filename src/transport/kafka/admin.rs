//! Makes topics and looks at them: the I/O of `topics`.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{self, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::{Client, ClientError};
use super::topics::{Fault, Found, Topics, Wanted, faults, wanted};
use super::trouble::Context;

/// How long a broker may take for one request: making 8 topics takes one broker 0.3 s.
const REQUEST: Duration = Duration::from_secs(30);

/// How often a topic that was just made is looked for, half a second apart: brokers learn of it one after
/// the other.
const LOOKS: usize = 20;

/// The topics as they are on a cluster.
pub struct State {
    /// What each must be.
    pub wanted: Vec<Wanted>,
    /// All that is wrong with them.
    pub faults: Vec<Fault>,
    /// The names of those that are not there.
    pub missing: Vec<String>,
}

/// Looks at the topics, for windows of `length` that slide by `hop`.
///
/// # Errors
/// When the cluster cannot be reached or asked.
pub fn check(
    client: &Client,
    topics: &Topics,
    length: Duration,
    hop: Duration,
) -> Result<State, ClientError> {
    let metadata = client.connect()?;
    look(client, wanted(topics, length, hop, metadata.brokers().len()))
}

/// Makes those of the topics in `state` that are missing, touches no other, and looks again.
///
/// # Errors
/// When the cluster cannot be reached or asked, or refuses to make one.
pub fn create(client: &Client, state: State) -> Result<State, ClientError> {
    let admin: AdminClient<Context> = client.create(&[])?;
    let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
    for wanted in state.wanted.iter().filter(|wanted| state.missing.contains(&wanted.name)) {
        let properties: Vec<(&str, String)> =
            wanted.rules.iter().map(|(name, rule)| (*name, rule.value())).collect();
        let replicas = TopicReplication::Fixed(wanted.replicas as i32);
        let mut topic = NewTopic::new(&wanted.name, wanted.partitions as i32, replicas);
        topic.config = properties.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let what = format!("make the topic {} with {} replicas", wanted.name, wanted.replicas);
        let failed = |error| client.failed(&what, error);
        for made in wait(admin.create_topics([&topic], &options)).map_err(failed)? {
            match made {
                // Somebody else was faster: whether it is right is looked at below.
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(failed(KafkaError::AdminOp(code))),
            }
        }
    }
    let mut state = look(client, state.wanted)?;
    for _ in 0..LOOKS {
        if state.missing.is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(500));
        state = look(client, state.wanted)?;
    }
    Ok(state)
}

fn look(client: &Client, wanted: Vec<Wanted>) -> Result<State, ClientError> {
    let (admin, consumer) = (client.create(&[])?, client.consumer(&[])?);
    let (mut all, mut missing) = (vec![], vec![]);
    for wanted in &wanted {
        let found = find(client, &admin, &consumer, &wanted.name)?;
        if found.is_none() {
            missing.push(wanted.name.clone());
        }
        all.extend(faults(wanted, found.as_ref()));
    }
    Ok(State { wanted, faults: all, missing })
}

/// What the topic `name` is, if it is there.
fn find(
    client: &Client,
    admin: &AdminClient<Context>,
    // A consumer: the others would have the broker make the topic that they ask for.
    consumer: &BaseConsumer<Context>,
    name: &str,
) -> Result<Option<Found>, ClientError> {
    let what = format!("look at the topic {name}");
    let failed = |error| client.failed(&what, error);
    let metadata = consumer.fetch_metadata(Some(name), REQUEST).map_err(failed)?;
    let Some(topic) = metadata.topics().first() else { return Ok(None) };
    match topic.error().map(Code::from) {
        None => {}
        // Of a topic that was just made not every broker knows yet.
        Some(Code::UnknownTopicOrPartition | Code::LeaderNotAvailable) => return Ok(None),
        Some(code) => return Err(failed(KafkaError::MetadataFetch(code))),
    }
    let properties = properties(client, admin, name)?;
    let replicas = topic.partitions().iter().map(|partition| partition.replicas().len() as u32).min();
    let partitions = topic.partitions().len() as u32;
    Ok(Some(Found { partitions, replicas: replicas.unwrap_or(0), properties }))
}

/// The properties of the topic `name`, which is there.
fn properties(
    client: &Client,
    admin: &AdminClient<Context>,
    name: &str,
) -> Result<BTreeMap<String, String>, ClientError> {
    let what = format!("look at the properties of the topic {name}");
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let described = wait(admin.describe_configs([&ResourceSpecifier::Topic(name)], &options));
    let described = described.map_err(|error| client.failed(&what, error))?;
    let entries = described.into_iter().flatten().flat_map(|resource| resource.entries);
    let properties: BTreeMap<String, String> =
        entries.filter_map(|entry| Some((entry.name, entry.value?))).collect();
    if properties.is_empty() {
        // rdkafka 0.39 keeps the broker's word for this to itself: an empty list is all that it gives.
        return Err(client.failed(&what, KafkaError::AdminOp(Code::TopicAuthorizationFailed)));
    }
    Ok(properties)
}

/// Sleeps until the `future` is done: rdkafka's own thread wakes us up.
fn wait<F: Future>(future: F) -> F::Output {
    struct Sleeper(Thread);
    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Sleeper(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut task::Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
