//! Why a peer is better where it is.

use crate::args::selects;

/// Of the first pattern that selects the case.
const REASONS: &[(&str, &str)] = &[("", "To be found.")];

pub fn reason(case: &str) -> &'static str {
    let mut reasons = REASONS.iter();
    let found = reasons.find(|(pattern, _)| selects(pattern, case));
    found.map_or("", |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    #[test]
    fn every_case_that_can_be_lost_has_a_reason() {
        for case in cases::all() {
            assert!(!reason(&case.name).is_empty(), "{}", case.name);
        }
    }

    #[test]
    fn every_reason_is_some_case_s() {
        let cases = cases::all();
        for (index, (pattern, _)) in REASONS.iter().enumerate() {
            let earlier = |name: &str| REASONS[..index].iter().any(|(it, _)| selects(it, name));
            let first = |name: &str| selects(pattern, name) && !earlier(name);
            assert!(cases.iter().any(|case| first(&case.name)), "{pattern}");
        }
    }
}
