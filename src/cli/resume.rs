//! What a resume is told again: which run, and settings that must be those of its journal (D7).
//! Owns the comparison; reads no journal.

use super::args::BackupArgs;
use super::settings::{SettingsError, asked, datasource, topic};
use crate::journal::{RestoreShape, Shape};
use crate::model::DeltaNum;

/// Shortest beginning of a run's id that is taken.
const SHORTEST: usize = 4;

/// Which run is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunChoice {
    /// The one that suggests itself: the only unfinished one, or the newest.
    Obvious,
    /// The one whose id begins so: lower-case hex digits without dashes.
    Named(String),
}

impl RunChoice {
    /// Reads an id or its beginning.
    ///
    /// # Errors
    /// [`SettingsError::Run`] for any other text.
    pub fn parse(text: Option<String>) -> Result<Self, SettingsError> {
        let Some(text) = text else { return Ok(Self::Obvious) };
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let well = (SHORTEST..=32).contains(&digits.len())
            && digits.chars().all(|c| c.is_ascii_hexdigit());
        if well {
            Ok(Self::Named(digits.to_ascii_lowercase()))
        } else {
            Err(SettingsError::Run { text })
        }
    }
}

/// Settings of a run as far as they were given again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// --topic
    pub topic: Option<String>,
    /// --datasourceType
    pub datasource: Option<String>,
    /// --deltaNum and --nextDeltasCount
    pub asked: Option<(DeltaNum, u64)>,
    /// --fillGaps
    pub fill_gaps: bool,
    /// --partitionsCount
    pub partitions: Option<u32>,
    /// --threadsCount
    pub threads: Option<u32>,
    /// --chunkSize
    pub chunk_size: Option<u32>,
    /// --noChecksums
    pub no_checksums: bool,
}

/// A setting given again that is not the run's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The keyword.
    pub keyword: &'static str,
    /// What the run was started with.
    pub then: String,
    /// What is asked now.
    pub now: String,
}

impl Again {
    /// Reads and checks them.
    ///
    /// # Errors
    /// [`SettingsError`] for the first rule that is broken.
    pub fn read(args: &BackupArgs) -> Result<Self, SettingsError> {
        Ok(Self {
            topic: args.topic.as_deref().map(topic).transpose()?,
            datasource: args.datasource_type.as_deref().map(datasource).transpose()?,
            asked: asked(args)?,
            fill_gaps: args.fill_gaps,
            partitions: args.partitions_count,
            threads: args.threads_count,
            chunk_size: args.chunk_size,
            no_checksums: args.no_checksums,
        })
    }

    /// The first setting that differs from those of a restore.
    pub fn contradicts_restore(&self, topic: &str, shape: &RestoreShape) -> Option<Contradiction> {
        let number = |number: Option<u32>| number.map(|n| n.to_string());
        let none = || "none".to_owned();
        let flag = |given: bool| given.then(|| "true".to_owned());
        let pairs = [
            ("--topic", topic.to_owned(), self.topic.clone()),
            (
                "--datasourceType",
                shape.datasource.clone().unwrap_or_else(none),
                self.datasource.clone(),
            ),
            ("--partitionsCount", shape.partitions.to_string(), number(self.partitions)),
            ("--threadsCount", shape.threads.to_string(), number(self.threads)),
            ("--deltaNum", none(), self.asked.map(|(first, _)| first.to_string())),
            ("--chunkSize", none(), number(self.chunk_size)),
            ("--fillGaps", none(), flag(self.fill_gaps)),
            ("--noChecksums", none(), flag(self.no_checksums)),
        ];
        pairs.into_iter().find_map(differs)
    }

    /// The first setting that differs from the run's.
    pub fn contradiction(&self, topic: &str, shape: &Shape) -> Option<Contradiction> {
        let number = |number: Option<u32>| number.map(|n| n.to_string());
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        let deltas = |asked: Option<(DeltaNum, u64)>| {
            asked.map_or("none".to_owned(), |(first, more)| format!("{first} and {more} more"))
        };
        let pairs = [
            ("--topic", topic.to_owned(), self.topic.clone()),
            ("--datasourceType", text(&shape.datasource), self.datasource.clone()),
            ("--deltaNum", deltas(shape.asked), self.asked.map(|asked| deltas(Some(asked)))),
            ("--fillGaps", shape.fill_gaps.to_string(), self.fill_gaps.then(|| "true".to_owned())),
            ("--partitionsCount", shape.partitions.to_string(), number(self.partitions)),
            ("--threadsCount", shape.threads.to_string(), number(self.threads)),
            ("--chunkSize", shape.chunk_size.to_string(), number(self.chunk_size)),
            (
                "--noChecksums",
                (!shape.checksums).to_string(),
                self.no_checksums.then(|| "true".to_owned()),
            ),
        ];
        pairs.into_iter().find_map(differs)
    }
}

fn differs((keyword, then, now): (&'static str, String, Option<String>)) -> Option<Contradiction> {
    let now = now.filter(|now| *now != then)?;
    Some(Contradiction { keyword, then, now })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            datasource: Some("adqm".into()),
            datasource_fallback: false,
            chunk_size: 1000,
            threads: 2,
            partitions: 3,
            checksums: true,
            asked: None,
            fill_gaps: false,
        }
    }

    #[test]
    fn a_run_is_named_by_the_beginning_of_its_id() {
        let parse = |text: &str| RunChoice::parse(Some(text.to_owned()));
        assert_eq!(RunChoice::parse(None).ok(), Some(RunChoice::Obvious));
        assert_eq!(parse("1234ABCD-ef00").ok(), Some(RunChoice::Named("1234abcdef00".to_owned())));
        for bad in ["", "123", "12-3", "xyzw", "../../etc", &"a".repeat(33)] {
            assert!(parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn what_was_not_given_again_contradicts_nothing_and_each_difference_is_named() {
        assert_eq!(Again::default().contradiction("t", &shape()), None);
        let same = Again {
            topic: Some("t".into()),
            datasource: Some("adqm".into()),
            partitions: Some(3),
            threads: Some(2),
            chunk_size: Some(1000),
            ..Again::default()
        };
        assert_eq!(same.contradiction("t", &shape()), None);
        let others = [
            ("--topic", Again { topic: Some("u".into()), ..Again::default() }),
            ("--datasourceType", Again { datasource: Some("adp".into()), ..Again::default() }),
            ("--deltaNum", Again { asked: Some((DeltaNum(1), 0)), ..Again::default() }),
            ("--fillGaps", Again { fill_gaps: true, ..Again::default() }),
            ("--partitionsCount", Again { partitions: Some(1), ..Again::default() }),
            ("--threadsCount", Again { threads: Some(1), ..Again::default() }),
            ("--chunkSize", Again { chunk_size: Some(1), ..Again::default() }),
            ("--noChecksums", Again { no_checksums: true, ..Again::default() }),
        ];
        for (keyword, again) in others {
            let found = again.contradiction("t", &shape()).map(|c| c.keyword);
            assert_eq!(found, Some(keyword));
        }
    }
}
