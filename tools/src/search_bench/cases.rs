//! What is timed, and what it is held against.

/// What is searched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    F32,
    I8,
    Binary,
    /// Binary codes, whose best rows are compared in INT8.
    TwoStages,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::F32 => "f32",
            Kind::I8 => "i8",
            Kind::Binary => "binary",
            Kind::TwoStages => "two stages",
        }
    }
}

/// What limits a case.
#[derive(Clone, Copy)]
pub enum Limit {
    /// The bytes of the rows, read once.
    Memory,
    /// The multiply-adds.
    Peak,
}

/// What a case should reach.
#[derive(Clone, Copy)]
pub enum Bar {
    /// At least this part of its limit.
    OfLimit(f64),
    /// At most this many times the time of one query.
    OfOne(f64),
    /// At least this many times as fast as the exact search in INT8 for as many queries.
    OfExact(f64),
    /// Nothing.
    None,
}

/// One kind of search.
pub struct Case {
    pub kind: Kind,
    pub queries: usize,
    pub limit: Limit,
    pub bar: Bar,
}

pub const CASES: [Case; 10] = [
    Case::new(Kind::F32, 1, Limit::Memory, Bar::None),
    Case::new(Kind::F32, 16, Limit::Memory, Bar::None),
    Case::new(Kind::I8, 1, Limit::Memory, Bar::OfLimit(0.85)),
    Case::new(Kind::I8, 16, Limit::Memory, Bar::OfOne(2.0)),
    Case::new(Kind::I8, 256, Limit::Peak, Bar::OfLimit(0.75)),
    Case::new(Kind::Binary, 1, Limit::Memory, Bar::OfLimit(0.8)),
    Case::new(Kind::Binary, 16, Limit::Memory, Bar::OfOne(2.5)),
    Case::new(Kind::Binary, 256, Limit::Memory, Bar::None),
    Case::new(Kind::TwoStages, 1, Limit::Memory, Bar::OfExact(4.0)),
    Case::new(Kind::TwoStages, 16, Limit::Memory, Bar::None),
];

impl Case {
    const fn new(kind: Kind, queries: usize, limit: Limit, bar: Bar) -> Self {
        Case {
            kind,
            queries,
            limit,
            bar,
        }
    }
}
