//! What is pushed: items whose values can be summed and foretold.

use std::ops::Range;

pub trait Item: Send + 'static {
    const NAME: &'static str;

    /// The item of this number.
    fn make(number: u64) -> Self;

    /// Read from the item, where it arrives.
    fn value(&self) -> u64;

    /// What `value` of the item of this number will be.
    fn expected(number: u64) -> u64;

    fn expected_sum(numbers: Range<u64>) -> u64 {
        numbers.fold(0, |sum, number| sum.wrapping_add(Self::expected(number)))
    }
}

/// 16 bytes.
#[derive(Clone, Copy, Default)]
pub struct Small {
    number: u64,
    other: u64,
}

impl Small {
    #[inline(always)]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Item for Small {
    const NAME: &'static str = "16B";

    #[inline(always)]
    fn make(number: u64) -> Self {
        Self {
            number,
            other: number ^ 1,
        }
    }

    #[inline(always)]
    fn value(&self) -> u64 {
        self.number.wrapping_add(self.other)
    }

    fn expected(number: u64) -> u64 {
        number.wrapping_add(number ^ 1)
    }
}

/// 64 bytes.
#[derive(Clone, Copy, Default)]
pub struct Large([u64; 8]);

impl Item for Large {
    const NAME: &'static str = "64B";

    #[inline(always)]
    fn make(number: u64) -> Self {
        Self([number; 8])
    }

    #[inline(always)]
    fn value(&self) -> u64 {
        self.0[0].wrapping_add(self.0[7])
    }

    fn expected(number: u64) -> u64 {
        number.wrapping_mul(2)
    }
}

const WORDS: [&str; 4] = [
    "user 4711 signed in",
    "user 4711 looked at page 17",
    "order 12345678 was paid by card",
    "a session timed out",
];

fn word(number: u64) -> &'static str {
    WORDS[number as usize % WORDS.len()]
}

/// Some twenty to thirty bytes that each item owns.
impl Item for String {
    const NAME: &'static str = "String";

    #[inline(always)]
    fn make(number: u64) -> Self {
        word(number).to_owned()
    }

    #[inline(always)]
    fn value(&self) -> u64 {
        self.len() as u64 + u64::from(self.as_bytes()[0])
    }

    fn expected(number: u64) -> u64 {
        let word = word(number);
        word.len() as u64 + u64::from(word.as_bytes()[0])
    }
}
