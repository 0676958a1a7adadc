//! Resumable backups of Prostore datamarts to Kafka, and of ClickHouse to S3.
#[cfg(feature = "sandbox")]
pub mod sandbox;
