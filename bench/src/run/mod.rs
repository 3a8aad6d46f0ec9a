//! One run: start, probes, idle, warm-up, the measured part, drain.

mod burst;
mod pace;
mod record;
mod start;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ending;
use crate::payload::{Phase, now_ns};
use crate::plan::{Plan, RunArgs, Scenario};
use crate::run::pace::{Load, Queues};
use crate::run::record::{Idle, Load as LoadRecord, Measured, Memory, Startup};
use crate::system::System;
use crate::tally::Tally;
use crate::usage::{self, Usage};

/// An idle overlay sends less than this per peer and second.
const QUIET_BYTES: f64 = 2_000.0;
/// And uses less than this of a core.
const QUIET_CPU: f64 = 0.03;
/// How often that is looked at, and how often at most.
const QUIET_LOOK: Duration = Duration::from_millis(500);
const QUIET_LOOKS: usize = 16;
/// What is under way when the warm-up ends has this long.
const WARM_REST: Duration = Duration::from_millis(300);
/// Stragglers that have not come after such a pause do not come.
const DRAIN_PAUSE: Duration = Duration::from_secs(3);

/// `bench run`: prints the result as a JSON line.
pub(crate) fn main(args: RunArgs) -> anyhow::Result<ExitCode> {
    let json = args.json.clone();
    let plan = Plan::new(args)?;
    usage::raise_file_limit();
    watch(&plan, json.as_deref().map(Path::to_owned));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(plan.opts.cluster.workers)
        .enable_all()
        .build()?;
    let described = plan.clone();
    // As a task: two workers mean two threads, and the one that blocks is not a third.
    let ran = runtime.block_on(async { tokio::spawn(run(plan)).await })?;
    let failed = ran.is_err();
    emit(&line(&described, ran)?, json.as_deref())?;
    runtime.shutdown_background();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whatever happens, the run ends: a thread of its own watches the clock.
fn watch(plan: &Plan, json: Option<std::path::PathBuf>) {
    let plan = plan.clone();
    std::thread::spawn(move || {
        // The limit itself is waited for: a run that ends in time ends this thread with it.
        std::thread::sleep(plan.limit());
        let error = anyhow::anyhow!("not done in {} s", plan.limit().as_secs());
        // Nobody is left to be told that this fails.
        let _ = line(&plan, Err(error)).and_then(|line| emit(&line, json.as_deref()));
        ending::exit(3);
    });
}

/// The plan and what came of it, as one object.
fn line(plan: &Plan, outcome: anyhow::Result<Value>) -> anyhow::Result<Value> {
    let mut line = serde_json::to_value(plan)?;
    let outcome = outcome.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
    if let (Value::Object(line), Value::Object(outcome)) = (&mut line, outcome) {
        line.extend(outcome);
    }
    Ok(line)
}

fn emit(line: &Value, json: Option<&Path>) -> anyhow::Result<()> {
    println!("{line}");
    if let Some(path) = json {
        writeln!(File::options().create(true).append(true).open(path)?, "{line}")?;
    }
    Ok(())
}

async fn run(plan: Plan) -> anyhow::Result<Value> {
    let load_before = usage::load();
    let started = Instant::now();
    let tally = Tally::new(plan.n)?;
    let memory = Memory::before(plan.n);
    let before = Usage::read(&[]);
    let origin_ns = now_ns();
    let mut system = tokio::time::timeout(plan.ready, System::start(&plan, &tally)).await??;
    let up_ns = now_ns();
    let ran = tokio::spawn(async move {
        let measured = measure(&plan, &tally, &mut system, &before, (origin_ns, up_ns), &memory);
        let outcome = measured.await;
        (outcome, system)
    });
    let (outcome, system) = ran.await?;
    system.stop().await;
    let mut outcome = outcome?;
    outcome["load_before"] = json!(load_before);
    outcome["wall_s"] = json!(record::round(started.elapsed().as_secs_f64(), 1));
    Ok(outcome)
}

/// Everything after the start, of which `times` are begin and end.
async fn measure(
    plan: &Plan,
    tally: &Arc<Tally>,
    system: &mut System,
    before: &Usage,
    times: (u64, u64),
    memory: &Memory,
) -> anyhow::Result<Value> {
    let pids = system.pids();
    let publishers = system.publishers();
    let ready = start::probe(plan, tally, &publishers).await?;
    let mut record = serde_json::to_value(Startup::new(times, &ready))?;
    if plan.scenario == Scenario::S5 {
        let after = Usage::read(&pids);
        let idle = record::StartCost::new(before, &after);
        extend(&mut record, &idle)?;
        extend(&mut record, &memory.at_end(&pids))?;
        record["counters"] = json!(system.counters().await);
        return Ok(record);
    }
    let idle = idle(plan, &pids).await;
    extend(&mut record, &idle)?;
    extend(&mut record, &memory.when_idle(&pids))?;
    record["warmup_ratio"] = json!(warm_up(plan, tally, &publishers).await?);

    let counters = system.counters().await;
    let published = system.published();
    let begin = Usage::read(&pids);
    // What waits in them when the time is up still goes out, so they outlive the drain.
    let queues = Queues::start(&publishers, plan.measured() + plan.drain);
    let load = match plan.single() {
        None => pace::pace(&queues, plan, Phase::Measured, plan.measured()).await?,
        Some(single) => burst::burst(plan, tally, &publishers[single]).await?,
    };
    let sent_ns = now_ns();
    let in_window = tally.delivered();
    let end = drain(plan, tally, &load, &pids).await;
    drop(queues);
    let delta = record::subtract(system.counters().await, &counters);
    let now = system.published();
    let measured = Measured {
        plan,
        idle: &idle,
        begin,
        end,
        sent_ns,
        in_window,
        load,
        accepted: now[0] - published[0],
        busy: now[1] - published[1],
        errors: now[2] - published[2],
        counters: &delta,
    };
    extend(&mut record, &LoadRecord::new(&measured, tally)?)?;
    extend(&mut record, &memory.at_end(&pids))?;
    record["counters"] = json!(delta);
    Ok(record)
}

/// What the overlay costs with nothing to carry. Peers go on building links after the first
/// probe got through, so this waits, for a bounded time, until that is over.
async fn idle(plan: &Plan, pids: &[u32]) -> Idle {
    for _ in 0..QUIET_LOOKS {
        let before = Usage::read(pids);
        tokio::time::sleep(QUIET_LOOK).await;
        let seen = Idle::new(plan.n, &before, &Usage::read(pids));
        if seen.bytes_per_s() / (plan.n as f64) < QUIET_BYTES && seen.cpu() < QUIET_CPU {
            break;
        }
    }
    let before = Usage::read(pids);
    tokio::time::sleep(plan.settle).await;
    Idle::new(plan.n, &before, &Usage::read(pids))
}

/// Paced, whatever the scenario: 200 messages a second of the one publisher of s2.
async fn warm_up(
    plan: &Plan,
    tally: &Tally,
    publishers: &[crate::system::Publisher],
) -> anyhow::Result<f64> {
    let queues = Queues::start(publishers, plan.warmup + plan.drain);
    let load = pace::pace(&queues, plan, Phase::WarmUp, plan.warmup).await?;
    tokio::time::sleep(WARM_REST).await;
    let expected = load.offered * (plan.n as u64 - 1);
    Ok(record::ratio(tally.warm(), expected))
}

/// Waits until everything is there, nothing has come for a while, or the time is up. Returns
/// what was used until the last arrival.
async fn drain(plan: &Plan, tally: &Tally, load: &Load, pids: &[u32]) -> Usage {
    let expected = load.offered * (plan.n as u64 - 1);
    let until = Instant::now() + plan.drain;
    let (mut delivered, mut since) = (tally.delivered(), Instant::now());
    let mut end = Usage::read(pids);
    while delivered < expected && Instant::now() < until && since.elapsed() < DRAIN_PAUSE {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = tally.delivered();
        if now != delivered {
            (delivered, since) = (now, Instant::now());
            end = Usage::read(pids);
        }
    }
    end
}

/// Adds the fields of `more`.
fn extend(record: &mut Value, more: &impl serde::Serialize) -> anyhow::Result<()> {
    if let (Value::Object(record), Value::Object(more)) = (record, serde_json::to_value(more)?) {
        record.extend(more);
    }
    Ok(())
}
