//! Whatever bytes a policy file has: an answer, no panic, and each finding with a place inside the file.
//!
//! A target of cargo-fuzz (rust-fuzz.github.io/book). Good seeds are `permissions.yaml`, `src/config/tests/full.yaml` and the
//! files in `tests/data/wrong`.

#![no_main]

use hayward::config;
use hayward::review::run_tests;
use hayward::types::Timestamp;
use libfuzzer_sys::fuzz_target;

/// 2026-11-20, at noon.
const NOON: Timestamp = Timestamp::from_micros(1_795_176_000_000_000);

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // A carriage return alone ends a line, too (YAML 1.2.2, section 5.4).
    let lines = text.matches(['\n', '\r']).count() + 1;
    let findings = match config::review("permissions.yaml", text) {
        Ok(loaded) => {
            let advice = loaded.advice(NOON);
            let failed = run_tests(&loaded, NOON);
            loaded
                .warnings
                .iter()
                .cloned()
                .chain(advice)
                .chain(failed)
                .collect()
        }
        Err(problems) => {
            assert!(!problems.diagnostics().is_empty(), "refused without a word");
            problems.diagnostics().to_vec()
        }
    };
    for finding in findings {
        assert!((1..=lines).contains(&(finding.line() as usize)));
        assert!(!finding.render(false).is_empty());
    }
});
