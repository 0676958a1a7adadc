//! What `topic show` and `verify` were asked for. Owns their rules; connects to nothing.

use super::args::{TopicArgs, VerifyArgs};
use super::connect::Connection;
use super::kafka_options::{Brokers, Properties};
use super::settings::{SettingsError, topic};
use crate::model::{Datamart, DeltaNum};
use crate::verify::Asked;

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

/// Settings of `verify`.
#[derive(Clone, Debug)]
pub struct VerifySettings {
    /// Where.
    pub topic: TopicSettings,
    /// What.
    pub asked: Asked,
    /// The node whose sums are asked for.
    pub against: Option<Connection>,
}

impl VerifySettings {
    /// Reads the options; `against` is what `--against` names, with its token.
    ///
    /// # Errors
    /// [`SettingsError`] for the first rule that is broken.
    pub fn read(args: &VerifyArgs, against: Option<Connection>) -> Result<Self, SettingsError> {
        let datamart = args.datamart.as_deref().map(Datamart::parse).transpose();
        let datamart = datamart.map_err(SettingsError::Datamart)?;
        let same_name = against.as_ref().map(|connection| connection.datamart.clone());
        let (datamart, sums) = (datamart.or(same_name), against.is_some());
        let asked = Asked { datamart, delta_from: args.delta_from.map(DeltaNum), sums };
        Ok(Self { topic: TopicSettings::read(&args.topic)?, asked, against })
    }
}
