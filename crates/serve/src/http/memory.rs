//! Memory that requests may take together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};

/// The unit of reservations, so that their number fits a permit.
const UNIT: usize = 1024;

/// How long other requests take to finish, at a guess: bodies of some MB are embedded in seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is left of the memory for requests.
#[derive(Debug, Clone)]
pub struct Memory {
    free: Arc<Semaphore>,
    all: usize,
}

impl Memory {
    /// This many bytes for all requests.
    pub fn new(bytes: usize) -> Self {
        let all = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    /// A reservation of nothing yet.
    pub fn reservation(&self) -> Reservation {
        Reservation {
            memory: self.clone(),
            permit: None,
        }
    }

    /// Bytes that are reserved.
    pub fn reserved(&self) -> usize {
        (self.all - self.free.available_permits()) * UNIT
    }
}

/// A part of the memory. Dropped, it is free again.
pub struct Reservation {
    memory: Memory,
    permit: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// Makes the reservation this large, if it is smaller.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] if they never fit, [`Kind::Busy`] if they do not now.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        let own = self
            .permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = bytes.div_ceil(UNIT);
        if wanted <= own {
            return Ok(());
        }
        if wanted > self.memory.all {
            let problem = format!(
                "the request takes {} MB of memory with its answer, and {} MB are there for all requests",
                bytes >> 20,
                (self.memory.all * UNIT) >> 20
            );
            let remedy = "send fewer texts at a time, or start the server with more memory";
            return Err(Problem::new(
                Kind::TooLarge,
                format!("body: {problem}; {remedy}"),
            ));
        }
        // It is no more than `all`, which fits.
        let more = u32::try_from(wanted - own).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.memory.free).try_acquire_many_owned(more) else {
            let message = "the server is busy: the memory for requests is taken; try again in 1 s";
            return Err(Problem::busy(message, RETRY_AFTER));
        };
        match &mut self.permit {
            Some(own) => own.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_the_memory() {
        let memory = Memory::new(10 << 20);
        let (mut first, mut second) = (memory.reservation(), memory.reservation());
        first.grow_to(1 << 20).unwrap();
        first.grow_to(6 << 20).unwrap();
        first.grow_to(5).unwrap();
        assert_eq!(memory.reserved(), 6 << 20);
        assert_eq!(second.grow_to(5 << 20).unwrap_err().kind, Kind::Busy);
        assert_eq!(second.grow_to(11 << 20).unwrap_err().kind, Kind::TooLarge);
        drop(first);
        second.grow_to(10 << 20).unwrap();
        drop(second);
        assert_eq!(memory.reserved(), 0);
    }
}
