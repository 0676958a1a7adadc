//! What `topic show` was asked for. Owns its rules; connects to nothing.

use super::args::TopicArgs;
use super::kafka_options::{Brokers, Properties};
use super::settings::{SettingsError, topic};

/// Settings of `topic show`.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    /// The topic.
    pub topic: String,
    /// Its brokers.
    pub brokers: Brokers,
    /// Client settings.
    pub properties: Properties,
}

impl TopicSettings {
    /// Reads the options.
    ///
    /// # Errors
    /// [`SettingsError`] for the first rule that is broken.
    pub fn read(args: &TopicArgs) -> Result<Self, SettingsError> {
        let missing = |keyword| SettingsError::Missing { keyword };
        let brokers = args.kafka_brokers.as_deref().ok_or(missing("--kafkaBrokers"))?;
        Ok(Self {
            topic: topic(args.topic.as_deref().ok_or(missing("--topic"))?)?,
            brokers: Brokers::parse("--kafkaBrokers", brokers)?,
            properties: Properties::parse("--kafkaProperty", &args.kafka_property)?,
        })
    }
}
