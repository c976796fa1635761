//! How much of a job is in memory at once.

use portolan_scanner::wire::Job;

/// How many pairs, hosts and blocks are worked on at once, unless a single block has more: while the last answers
/// of one block are waited for, others go on. This is what bounds the memory.
const ENOUGH_PAIRS: u128 = 1 << 20;
const ENOUGH_HOSTS: u128 = 1 << 14;
const ENOUGH_BLOCKS: u128 = 1 << 12;

/// How much is kept of what open ports said until their blocks are done, in bytes of lines; more is dropped.
pub const ENOUGH_SAID: usize = 16 << 20;

/// The most pairs a block may have; [`Job::block_hosts_for`] keeps far below.
const MAX_PAIRS: u128 = 1 << 25;

/// How many blocks of a job are worked on at once.
///
/// # Errors
/// A sentence, if a block of the job has more pairs than this program keeps in memory.
pub fn most_blocks(job: &Job) -> Result<usize, String> {
    let hosts = job.hosts().min(u128::from(job.block_hosts));
    let pairs = hosts.saturating_mul(u128::from(job.ports.count()));
    if pairs > MAX_PAIRS {
        let ports = job.ports.count();
        return Err(format!(
            "block-hosts: a block of {hosts} hosts x {ports} ports has {pairs} probes; \
             at most {MAX_PAIRS} are kept in memory"
        ));
    }
    let blocks = (ENOUGH_PAIRS / pairs.max(1)).min(ENOUGH_HOSTS / hosts.max(1)).clamp(1, ENOUGH_BLOCKS);
    Ok(usize::try_from(blocks).expect("at most ENOUGH_BLOCKS"))
}
