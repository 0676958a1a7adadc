//! Administration of topics: make, delete, list, look at. Owns the small trait behind which a
//! broker without administration can stand; never reads or writes a message.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::brokers::Isolation;
use super::{Brokers, Context, Failure, FailureKind, blocking};

/// How long the brokers may take for one answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(15);
/// How long a new topic may take until each partition has a leader.
const LEADERS: Duration = Duration::from_secs(30);
/// How often a new topic is looked at until then.
const LOOK: Duration = Duration::from_millis(30);

/// How long the first answer is waited for before it is asked whether the brokers refuse us; in
/// sum one answer's time. The client itself tries again for ever. The first wait is long enough for
/// a broker that takes us, where others refuse.
const FIRST: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(9)];

/// How long to listen for the reason of a failure.
const HEAR: Duration = Duration::from_millis(80);

/// What an asked broker answers, later. Boxed, so that the trait can be a trait object:
/// administration is rare, and nobody else should carry a type parameter for it.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// First offset and one past the last offset of a partition.
pub type Range = (i64, i64);

/// Makes, deletes and looks at topics. `None` is a topic that does not exist.
pub trait TopicAdmin: Send + Sync + 'static {
    /// Creates a topic with the brokers' replication factor and waits until all partitions have
    /// leaders. Fails with [`FailureKind::TopicExists`] where it exists.
    fn create<'a>(
        &'a self,
        topic: &'a str,
        partitions: u32,
        settings: &'a [(&'a str, &'a str)],
    ) -> Answer<'a, ()>;

    /// Deletes a topic; one that does not exist is deleted already.
    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()>;

    /// Names of the topics that begin with `prefix`, sorted.
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<String>>;

    /// By partition, the range of offsets; uncommitted messages count.
    fn ranges<'a>(&'a self, topic: &'a str) -> Answer<'a, Option<Vec<Range>>>;

    /// The topic's settings; empty where the brokers do not tell.
    fn settings<'a>(&'a self, topic: &'a str) -> Answer<'a, BTreeMap<String, String>>;

    /// A broker's settings; empty where it does not tell.
    fn broker_settings(&self) -> Answer<'_, BTreeMap<String, String>>;

    /// The cluster's id; none where the brokers have none.
    fn cluster_id(&self) -> Answer<'_, Option<String>>;
}

/// A client that asks for metadata and offsets. A consumer, because a producer's question about a
/// missing topic makes brokers create it.
pub(crate) struct Asker {
    consumer: BaseConsumer<Context>,
    context: Context,
    /// The brokers have answered once.
    met: AtomicBool,
}

impl Asker {
    /// Starts the client; nothing is asked yet.
    pub(crate) fn new(brokers: &Brokers, isolation: Isolation) -> Result<Arc<Self>, Failure> {
        let context = Context::default();
        let config = brokers.asking(isolation);
        let consumer: BaseConsumer<Context> =
            config.create_with_context(context.clone()).map_err(|e| Failure::of(&e))?;
        Ok(Arc::new(Self { consumer, context, met: AtomicBool::new(false) }))
    }

    /// Waits for the first answer of all. A wrong password or certificate is told as soon as the
    /// brokers say so.
    fn meet(&self) -> Result<(), Failure> {
        if self.met.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut answer = Ok(());
        for time in FIRST {
            let metadata = self.consumer.fetch_metadata(Some("__consumer_offsets"), time);
            self.hear(if metadata.is_ok() { Duration::ZERO } else { HEAR });
            answer = metadata.map(|_| ());
            if answer.is_ok() || self.context.is_denied() {
                break;
            }
        }
        self.met.store(answer.is_ok(), Ordering::Relaxed);
        answer.map_err(|error| self.context.explain(&error))
    }

    /// Runs a question on a blocking thread; a vague failure gets the client's last complaint.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&BaseConsumer<Context>) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let asker = Arc::clone(self);
        blocking(move || {
            asker.meet()?;
            let answer = question(&asker.consumer);
            asker.hear(if answer.is_ok() { Duration::ZERO } else { HEAR });
            answer.map_err(|e| asker.context.explain(&e))
        })
        .await
    }

    /// Takes log lines and complaints from the client's queue: nobody else does.
    fn hear(&self, span: Duration) {
        // A poll that only met a log line answers none as well: a few more cost nothing.
        for _ in 0..8 {
            self.consumer.poll(span / 8);
        }
    }

    /// By partition, the range of offsets; none where the topic does not exist. A leader that was
    /// just chosen may not know of it yet: asked again for a while.
    pub(crate) async fn ranges(
        self: &Arc<Self>,
        topic: &str,
    ) -> Result<Option<Vec<Range>>, Failure> {
        let started = Instant::now();
        loop {
            let Some(partitions) = self.partitions(topic).await? else { return Ok(None) };
            let name = topic.to_owned();
            let ask = move |consumer: &BaseConsumer<Context>| {
                (0..partitions).map(|p| consumer.fetch_watermarks(&name, p, ANSWER)).collect()
            };
            let passing = [FailureKind::Retryable, FailureKind::NoTopic];
            match self.ask(ask).await {
                Err(failure) if passing.contains(&failure.kind) && started.elapsed() < LEADERS => {}
                ranges => return ranges.map(Some),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn partitions(self: &Arc<Self>, topic: &str) -> Result<Option<i32>, Failure> {
        let topic = topic.to_owned();
        let ask = move |consumer: &BaseConsumer<Context>| {
            partitions_of(&consumer.fetch_metadata(Some(&topic), ANSWER)?, &topic)
        };
        none_if_missing(self.ask(ask).await)
    }
}

/// An answer, or none where it failed for want of the topic.
fn none_if_missing<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.kind == FailureKind::NoTopic => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// How many partitions a topic has.
fn partitions_of(metadata: &Metadata, topic: &str) -> KafkaResult<i32> {
    let missing = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
    let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else {
        return Err(missing);
    };
    match (found.error(), i32::try_from(found.partitions().len())) {
        (Some(error), _) => Err(KafkaError::MetadataFetch(error.into())),
        (None, Ok(partitions)) if partitions > 0 => Ok(partitions),
        _ => Err(missing),
    }
}

/// Administration of a real cluster.
pub struct ClusterAdmin {
    admin: Arc<AdminClient<Context>>,
    asker: Arc<Asker>,
}

impl ClusterAdmin {
    /// Starts the clients; nothing is asked yet.
    ///
    /// # Errors
    /// [`FailureKind::Refused`] where the properties do not make a client.
    pub fn new(brokers: &Brokers) -> Result<Arc<Self>, Failure> {
        let asker = Asker::new(brokers, Isolation::Uncommitted)?;
        let config = brokers.asking(Isolation::Uncommitted);
        let context = asker.context.clone();
        let admin = config.create_with_context(context).map_err(|e| Failure::of(&e))?;
        Ok(Arc::new(Self { admin: Arc::new(admin), asker }))
    }

    /// The client, which knows who is there now. By itself it would go on asking the broker that
    /// it was told of first, and if that one died, for minutes and with all its might.
    async fn admin(&self) -> Result<&AdminClient<Context>, Failure> {
        let admin = Arc::clone(&self.admin);
        let look = move || {
            let known = admin.inner().fetch_metadata(Some("__consumer_offsets"), ANSWER);
            known.map(|_| ()).map_err(|e| Failure::of(&e))
        };
        blocking(look).await?;
        Ok(&self.admin)
    }

    async fn make(
        &self,
        topic: &str,
        partitions: u32,
        settings: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let count = i32::try_from(partitions).unwrap_or(i32::MAX);
        let mut new = NewTopic::new(topic, count, TopicReplication::Fixed(-1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let answer = self.admin().await?.create_topics([&new], &options()).await;
        self.only(answer)?;
        self.await_leaders(topic, partitions as usize).await
    }

    async fn remove(&self, topic: &str) -> Result<(), Failure> {
        let answer = self.admin().await?.delete_topics(&[topic], &options()).await;
        none_if_missing(self.only(answer)).map(|_| ())
    }

    /// The one result of a request about one topic.
    fn only(&self, answer: KafkaResult<Vec<rdkafka::admin::TopicResult>>) -> Result<(), Failure> {
        let results = answer.map_err(|e| self.explain(&e))?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err((_, code))) => Err(Failure::of_code(code)),
            None => Err(Failure::new(FailureKind::Retryable, "an empty answer")),
        }
    }

    async fn await_leaders(&self, topic: &str, partitions: usize) -> Result<(), Failure> {
        let started = Instant::now();
        while self.asker.ranges(topic).await?.unwrap_or_default().len() < partitions {
            if started.elapsed() > LEADERS {
                let reason = format!("topic {topic} was created, but is not seen");
                return Err(Failure::new(FailureKind::Retryable, reason));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Reads an error of an administrative request.
    fn explain(&self, error: &KafkaError) -> Failure {
        self.asker.hear(HEAR);
        self.asker.context.explain(error)
    }

    /// Settings of a topic or broker. Brokers that refuse to tell, and servers that know no such
    /// question, give none: what depends on them is then unknown, not wrong.
    async fn describe(
        &self,
        what: ResourceSpecifier<'_>,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let answer = self.admin().await?.describe_configs([&what], &options()).await;
        let resource = match answer.map(|mut all| all.pop()) {
            Ok(Some(Ok(resource))) => resource,
            Ok(None) => return Ok(BTreeMap::new()),
            Ok(Some(Err(code))) => return tolerate(Failure::of_code(code)),
            Err(error) => return tolerate(self.explain(&error)),
        };
        let pairs = resource.entries.into_iter().filter_map(|e| Some((e.name, e.value?)));
        Ok(pairs.collect())
    }

    async fn any_broker(&self) -> Result<Option<i32>, Failure> {
        let question = |consumer: &BaseConsumer<Context>| {
            let metadata = consumer.fetch_metadata(Some("__consumer_offsets"), ANSWER)?;
            Ok(metadata.brokers().first().map(|broker| broker.id()))
        };
        self.asker.ask(question).await
    }
}

/// No settings instead of a refusal to tell them.
fn tolerate(failure: Failure) -> Result<BTreeMap<String, String>, Failure> {
    match failure.kind {
        FailureKind::NoRights | FailureKind::Refused => {
            tracing::warn!(reason = %failure.reason, "the brokers do not tell their settings");
            Ok(BTreeMap::new())
        }
        _ => Err(failure),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

impl TopicAdmin for ClusterAdmin {
    fn create<'a>(
        &'a self,
        topic: &'a str,
        partitions: u32,
        settings: &'a [(&'a str, &'a str)],
    ) -> Answer<'a, ()> {
        Box::pin(self.make(topic, partitions, settings))
    }

    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()> {
        Box::pin(self.remove(topic))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<String>> {
        Box::pin(list(&self.asker, prefix))
    }

    fn ranges<'a>(&'a self, topic: &'a str) -> Answer<'a, Option<Vec<Range>>> {
        Box::pin(self.asker.ranges(topic))
    }

    fn settings<'a>(&'a self, topic: &'a str) -> Answer<'a, BTreeMap<String, String>> {
        Box::pin(self.describe(ResourceSpecifier::Topic(topic)))
    }

    fn broker_settings(&self) -> Answer<'_, BTreeMap<String, String>> {
        Box::pin(async {
            match self.any_broker().await? {
                Some(id) => self.describe(ResourceSpecifier::Broker(id)).await,
                None => Ok(BTreeMap::new()),
            }
        })
    }

    fn cluster_id(&self) -> Answer<'_, Option<String>> {
        Box::pin(cluster_id(&self.asker))
    }
}

/// Names of topics with a prefix, sorted.
pub(crate) async fn list(asker: &Arc<Asker>, prefix: &str) -> Result<Vec<String>, Failure> {
    let prefix = prefix.to_owned();
    let question = move |consumer: &BaseConsumer<Context>| {
        let metadata = consumer.fetch_metadata(None, ANSWER)?;
        let names = metadata.topics().iter().map(|t| t.name().to_owned());
        Ok(names.filter(|name| name.starts_with(&prefix)).collect::<Vec<_>>())
    };
    let mut names = asker.ask(question).await?;
    names.sort();
    Ok(names)
}

/// The cluster's id. The client answers none both for "has none" and for "nobody answered", so
/// metadata is asked first.
pub(crate) async fn cluster_id(asker: &Arc<Asker>) -> Result<Option<String>, Failure> {
    let question = |consumer: &BaseConsumer<Context>| {
        consumer.fetch_metadata(Some("__consumer_offsets"), ANSWER)?;
        Ok(consumer.client().fetch_cluster_id(ANSWER))
    };
    asker.ask(question).await
}
