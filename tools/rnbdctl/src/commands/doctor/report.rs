// SPDX-License-Identifier: GPL-2.0-only

//! What was looked at, and what was found.

use serde::Serialize;

use crate::{
    failure::Result,
    output, //
};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    /// It works, but perhaps not as the user wants.
    Note,
    /// It cannot work.
    Wrong,
}

/// What was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

/// All checks so far.
#[derive(Default)]
pub(super) struct Report(Vec<Check>);

impl Report {
    pub(super) fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        self.add(what, Verdict::Ok, found.into(), None);
    }

    pub(super) fn note(&mut self, what: &'static str, found: impl Into<String>, advice: &str) {
        self.add(what, Verdict::Note, found.into(), Some(advice.into()));
    }

    pub(super) fn wrong(&mut self, what: &'static str, found: impl Into<String>, advice: &str) {
        self.add(what, Verdict::Wrong, found.into(), Some(advice.into()));
    }

    fn add(&mut self, what: &'static str, verdict: Verdict, found: String, advice: Option<String>) {
        self.0.push(Check {
            what,
            verdict,
            found,
            advice,
        });
    }

    /// Returns the number of checks that found something wrong.
    pub(super) fn problems(&self) -> usize {
        let wrong = |check: &&Check| check.verdict == Verdict::Wrong;

        self.0.iter().filter(wrong).count()
    }

    /// Returns the checks as JSON.
    pub(super) fn json(&self) -> Result<String> {
        output::json([("checks", &self.0)])
    }

    /// Returns a line for each check, and one for each advice.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();

        for check in &self.0 {
            let word = match check.verdict {
                Verdict::Ok => "ok",
                Verdict::Note => "note",
                Verdict::Wrong => "WRONG",
            };

            text += &format!("{word:5}  {}: {}\n", check.what, check.found);
            if let Some(advice) = &check.advice {
                text += &format!("       next: {advice}\n");
            }
        }
        text
    }
}
