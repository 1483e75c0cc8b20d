//! The ratios as a bar chart, on a log scale around the line where both sides are equal. Readable
//! on a light and on a dark ground.

use std::{fmt::Write as _, fs, io, path::Path};

use crate::{args::selects, row::Row, stats::Estimate};

const ROW: usize = 20;
const LABELS: usize = 400;
const BARS: usize = 480;
const VALUES: usize = 150;
const TOP: usize = 56;

/// Greys and colours with enough contrast to white and to black.
const STYLE: &str = "text { font: 12px sans-serif; fill: #777 } \
    .title { font-size: 15px } .better { fill: #2b8a5b } .worse { fill: #c2553f } \
    .grid { stroke: #8886; stroke-width: 1 } .one { stroke: #888; stroke-width: 2 } \
    .whisker { stroke: #888; stroke-width: 1.5 }";

/// What a chart of everything shows: each kind of work once, with all who do it.
const MAIN: [&str; 12] = [
    "push/collected-8192/writer/",
    "push/alone/queue/",
    "push/alone/keyed/hashed-mutex",
    "e2e/16B/2/writer/",
    "e2e/16B/8/writer/",
    "keyed/uniform/2/",
    "keyed/zipf/2/",
    "burst/2/",
    "map/put/puts/1k/zipf/2/",
    "map/put/puts/100k/uniform/1/",
    "map/put_newer/puts/100k/uniform/1/",
    "map/put/sweeping/100k/uniform/2/",
];

pub fn is_main(case: &str) -> bool {
    MAIN.iter().any(|pattern| selects(pattern, case))
}

/// Writes `ratios.svg`, if any row has a ratio.
pub fn write<'a>(rows: impl Iterator<Item = &'a Row>, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let ratios: Vec<(&str, Estimate)> = rows
        .filter_map(|row| Some((&*row.case, row.ratio?)))
        .filter(|(_, ratio)| ratio.low > 0.0 && ratio.high.is_finite())
        .collect();
    if ratios.is_empty() {
        return Ok(());
    }
    fs::write(directory.join("ratios.svg"), chart(&ratios))
}

fn chart(ratios: &[(&str, Estimate)]) -> String {
    let scale = Scale::of(ratios);
    let width = LABELS + BARS + VALUES;
    let height = TOP + ratios.len() * ROW + 8;
    let bottom = height - 4;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\">\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"8\" y=\"20\">time of the peer / time of swaplane (right of \
         1×: swaplane is faster)</text>\n"
    );
    for power in scale.low..=scale.high {
        let (x, value) = (scale.x(2_f64.powi(power)), 2_f64.powi(power));
        let class = if power == 0 { "one" } else { "grid" };
        let y = TOP - 6;
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{y}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{value}×</text>",
            y - 6
        );
    }
    for (index, (name, ratio)) in ratios.iter().enumerate() {
        bar(&mut svg, &scale, TOP + index * ROW, name, *ratio);
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, scale: &Scale, y: usize, name: &str, ratio: Estimate) {
    let (one, at) = (scale.x(1.0), scale.x(ratio.median));
    let class = if ratio.median < 1.0 {
        "worse"
    } else {
        "better"
    };
    let (left, width) = (one.min(at), (one - at).abs());
    let middle = y + ROW / 2;
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{class}\" x=\"{left:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\"/>\
         <line class=\"whisker\" x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\"/>\
         <text x=\"{}\" y=\"{}\">{:.2}× ({:.2} to {:.2})</text>",
        LABELS - 8,
        middle + 4,
        escaped(name),
        y + 3,
        ROW - 6,
        scale.x(ratio.low),
        scale.x(ratio.high),
        LABELS + BARS + 8,
        middle + 4,
        ratio.median,
        ratio.low,
        ratio.high,
    );
}

/// Powers of two that all intervals lie between.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn of(ratios: &[(&str, Estimate)]) -> Self {
        let low = ratios.iter().map(|(_, ratio)| ratio.low.log2().floor());
        let high = ratios.iter().map(|(_, ratio)| ratio.high.log2().ceil());
        Self {
            low: low.fold(-1.0, f64::min) as i32,
            high: high.fold(1.0, f64::max) as i32,
        }
    }

    fn x(&self, ratio: f64) -> f64 {
        let part = (ratio.log2() - f64::from(self.low)) / f64::from(self.high - self.low);
        LABELS as f64 + part * BARS as f64
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_on_the_line() {
        let even = Estimate {
            median: 1.0,
            low: 0.5,
            high: 4.0,
        };
        let scale = Scale::of(&[("a", even)]);
        assert_eq!((scale.low, scale.high), (-1, 2));
        assert_eq!(scale.x(0.5), LABELS as f64);
        assert_eq!(scale.x(4.0), (LABELS + BARS) as f64);
        assert!(chart(&[("a<b", even)]).contains("a&lt;b"));
    }
}
