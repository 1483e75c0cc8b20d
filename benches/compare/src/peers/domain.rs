//! Libraries whose job is this very one: they have a thread of their own that takes batches.

use std::{
    io::{self, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use opentelemetry::{
    InstrumentationScope,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{
        BatchConfigBuilder, BatchLogProcessor, LogBatch, LogExporter, SdkLogger, SdkLoggerProvider,
    },
};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::{Order, Push, produce};
use crate::{
    crew::Crew,
    item::{Item, Small},
    pair::{Side, Slice},
    tally::{BATCH, SumSink, Tally},
};

pub trait Library: Sized + 'static {
    const NAME: &'static str;
    const NOTE: &'static str;
    /// Items of a slice at most.
    const MOST: u64;
    type Tx: Push<Small>;

    fn open(sink: SumSink, producers: usize) -> (Vec<Self::Tx>, Self);

    /// Asks for what is held.
    fn flush(&self) {}
}

/// A library in use.
pub struct Driven<L> {
    crew: Crew,
    order: Arc<Order>,
    sink: SumSink,
    producers: usize,
    library: L,
}

impl<L: Library> Driven<L> {
    pub fn new(producers: usize) -> Self {
        let (sink, order) = (SumSink::default(), Arc::new(Order::default()));
        let (txs, library) = L::open(sink.clone(), producers);
        let jobs = txs.into_iter().enumerate().map(|(producer, mut tx)| {
            produce(Arc::clone(&order), producer, move |item| tx.push(item))
        });
        Self {
            crew: Crew::new(jobs.collect()),
            order,
            sink,
            producers,
            library,
        }
    }
}

impl<L: Library> Side for Driven<L> {
    fn slice(&mut self, n: u64) -> (Slice, u64) {
        let each = (n / self.producers as u64).max(1);
        let numbers = self.order.next(each, self.producers);
        let n = numbers.end - numbers.start;
        self.sink.expect(n);
        self.crew.start();
        self.crew.wait();
        self.library.flush();
        while self.sink.tally().count < n {
            thread::yield_now();
        }
        self.sink.tally().check::<Small>(numbers, L::NAME);
        (Slice::between(self.crew.started(), self.sink.last()), n)
    }

    fn most(&self) -> u64 {
        L::MOST
    }
}

/// The batch processor for log records, with an exporter that sums.
pub struct OpenTelemetry(SdkLoggerProvider);

/// It drops what has no room; so there is room for a slice.
const ROOM: usize = 1 << 18;

#[derive(Debug)]
struct Exporter(SumSink);

impl LogExporter for Exporter {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let mut tally = Tally::default();
        for (record, _) in batch.iter() {
            if let Some(AnyValue::Int(number)) = record.body() {
                tally.each(&[Small::make(*number as u64)]);
            }
        }
        self.0.add(tally);
        Ok(())
    }
}

impl Push<Small> for SdkLogger {
    #[inline(always)]
    fn push(&mut self, item: Small) {
        let mut record = self.create_log_record();
        record.set_body(AnyValue::Int(item.number() as i64));
        self.emit(record);
    }
}

impl Library for OpenTelemetry {
    const NAME: &'static str = "opentelemetry-batch-logs";
    const NOTE: &'static str = "a log record for each item; drops what has no room";
    const MOST: u64 = ROOM as u64 / 2;
    type Tx = SdkLogger;

    fn open(sink: SumSink, producers: usize) -> (Vec<Self::Tx>, Self) {
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(ROOM)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(Duration::from_millis(1))
            .build();
        let processor = BatchLogProcessor::builder(Exporter(sink))
            .with_batch_config(config)
            .build();
        let provider = SdkLoggerProvider::builder()
            .with_log_processor(processor)
            .build();
        let scope = InstrumentationScope::builder("compare").build();
        let logger = |_| provider.logger_with_scope(scope.clone());
        ((0..producers).map(logger).collect(), Self(provider))
    }

    fn flush(&self) {
        self.0.force_flush().expect("the exporter never fails");
    }
}

/// The writer that does not block, for lines of 16 bytes.
pub struct Appender {
    _guard: WorkerGuard,
}

/// Sums what is written.
struct Lines {
    sink: SumSink,
    tally: Tally,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let number = line[..8].try_into().expect("eight bytes");
        self.tally.each(&[Small::make(u64::from_le_bytes(number))]);
        if self.tally.count == BATCH as u64 {
            self.flush()?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.add(std::mem::take(&mut self.tally));
        Ok(())
    }
}

impl Push<Small> for NonBlocking {
    #[inline(always)]
    fn push(&mut self, item: Small) {
        let mut line = [0; 16];
        line[..8].copy_from_slice(&item.number().to_le_bytes());
        self.write_all(&line).expect("never fails");
    }
}

impl Library for Appender {
    const NAME: &'static str = "tracing-appender";
    const NOTE: &'static str =
        "lines of 16 bytes, written one by one; bounded to 128000, waits when full";
    const MOST: u64 = 1 << 22;
    type Tx = NonBlocking;

    fn open(sink: SumSink, producers: usize) -> (Vec<Self::Tx>, Self) {
        let lines = Lines {
            sink,
            tally: Tally::default(),
        };
        let (writer, guard) = NonBlockingBuilder::default().lossy(false).finish(lines);
        (vec![writer; producers], Self { _guard: guard })
    }
}
