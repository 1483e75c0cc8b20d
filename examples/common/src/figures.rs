//! Numbers for people.

use swaplane::Stats;

/// 1234567 as 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How full the batches were, with what they are full of.
pub fn mean_fill(stats: &Stats, batch_size: usize, items: &str) -> String {
    if stats.batches == 0 {
        return "–".to_owned();
    }
    let fill = stats.delivered as f64 / stats.batches as f64;
    let percent = 100.0 * fill / batch_size as f64;
    format!(
        "{fill:.1} {items} ({percent:.1} % of {})",
        grouped(batch_size as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn no_batch_has_no_fill() {
        assert_eq!(mean_fill(&Stats::default(), 500, "rows"), "–");
    }
}
