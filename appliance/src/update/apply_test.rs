use super::super::fixture::{self, ROOT, changed, machine, update, version};
use super::super::machine::Machine;
use super::*;
use std::path::PathBuf;

fn open(from: &Path) -> Bundle {
    Bundle::open(from, &fixture::key().public()).unwrap()
}

fn done(machine: &Machine, from: &Path) -> Result<Vec<String>, Error> {
    let bundle = open(from);
    admit(machine, &bundle.manifest, false)?;
    let mut said = Vec::new();
    apply(machine, &bundle, &Random::seeded(1), &mut |progress| said.push(progress.to_string()))?;
    Ok(said)
}

fn refused(machine: &Machine, manifest: &Manifest) -> String {
    match admit(machine, manifest, false) {
        Err(Error::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn kernels(machine: &Machine) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(machine.esp.join(KERNELS))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The bytes of the slot that runs, and what its partitions are called.
fn running(machine: &Machine) -> (Vec<u8>, Slots) {
    let disk = machine.open(false).unwrap();
    let slots = machine.slots(&Table::read(&disk).unwrap()).unwrap();
    let mut bytes = vec![0; usize::try_from(ROOT).unwrap()];
    disk.read_exact_at(&mut bytes, slots.running.root.start).unwrap();
    (bytes, slots)
}

#[test]
fn an_update_is_in_the_other_slot_byte_for_byte_and_on_trial() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path());
    let before = running(&machine);
    let from = update(folder.path(), "0.2.0");
    let said = done(&machine, &from).unwrap();
    assert_eq!(said.first().unwrap(), "emptying the slot that does not run");
    assert_eq!(said.last().unwrap(), "done: restart to try it");
    let (bytes, slots) = running(&machine);
    assert_eq!((&bytes, &slots.running), (&before.0, &before.1.running));
    let manifest = open(&from).manifest;
    let (root, verity) = manifest.root_hash.partitions();
    assert_eq!((slots.other.root.uuid, slots.other.root.label.as_str()), (root, "portolan_0.2.0"));
    assert_eq!(
        (slots.other.verity.uuid, slots.other.verity.label.as_str()),
        (verity, "portolan_0.2.0_verity")
    );
    let disk = machine.open(false).unwrap();
    for (partition, bytes) in [(&slots.other.verity, 0), (&slots.other.root, 1)] {
        let wanted = &fixture::bytes("0.2.0")[bytes];
        let mut there = vec![0; wanted.len()];
        disk.read_exact_at(&mut there, partition.start).unwrap();
        assert_eq!(&there, wanted);
    }
    assert_eq!(kernels(&machine), ["portolan_0.1.0.efi", "portolan_0.2.0+3-0.efi"]);
    assert_eq!(
        fs::read(machine.esp.join(KERNELS).join("portolan_0.2.0+3-0.efi")).unwrap(),
        fixture::bytes("0.2.0")[2]
    );
}

#[test]
fn a_damaged_file_leaves_an_empty_slot_and_no_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path());
    for damaged in ["portolan_0.2.0.verity.raw", "portolan_0.2.0.root.raw", "portolan_0.2.0.efi"] {
        let _ = fs::remove_dir_all(folder.path().join("update-0.2.0"));
        let from = update(folder.path(), "0.2.0");
        let mut bytes = fs::read(from.join(damaged)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(from.join(damaged), bytes).unwrap();
        let said = done(&machine, &from).unwrap_err().to_string();
        assert!(said.contains("damaged"), "{said}");
        assert_eq!(running(&machine).1.other.version(), None);
        assert_eq!(kernels(&machine), ["portolan_0.1.0.efi"], "{damaged}");
    }
}

#[test]
fn a_second_update_takes_the_place_of_one_that_was_never_tried() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path());
    done(&machine, &update(folder.path(), "0.2.0")).unwrap();
    done(&machine, &update(folder.path(), "0.3.0")).unwrap();
    assert_eq!(kernels(&machine), ["portolan_0.1.0.efi", "portolan_0.3.0+3-0.efi"]);
    assert_eq!(running(&machine).1.other.version(), Some(version("0.3.0")));
}

#[test]
fn what_does_not_belong_here_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = machine(folder.path());
    let manifest = open(&update(folder.path(), "0.2.0")).manifest;
    admit(&machine, &manifest, false).unwrap();
    let with = |change: fn(&mut Manifest)| {
        let mut other = manifest.clone();
        change(&mut other);
        refused(&machine, &other)
    };
    assert!(with(|m| m.product = "other".into()).contains("update of other"));
    assert!(with(|m| m.architecture = "riscv64".into()).contains("riscv64"));
    assert!(with(|m| m.version = version("0.1.0")).contains("runs already"));
    assert!(with(|m| m.from_at_least = version("0.1.5")).contains("update to 0.1.5 first"));
    assert!(with(|m| m.root.size = ROOT + 1).contains("larger slots"));
    assert!(with(|m| m.version = version("0.0.9")).contains("--allow-downgrade"));
    assert!(with(|m| m.config_schema -= 1).contains("config.db up to schema"));
    assert!(with(|m| m.jobs_schema -= 1).contains("would never be well"));
    assert!(with(|m| m.results_schema -= 1).contains("results store"));
    let mut older = manifest.clone();
    older.version = version("0.0.9");
    admit(&machine, &older, true).unwrap();
    trial::begin(&machine.run, &machine.running).unwrap();
    assert!(refused(&machine, &manifest).contains("on trial"));
    trial::end(&machine.run).unwrap();
    machine.running = version("0.1.1");
    assert!(refused(&machine, &manifest).contains("no way back"));
}

#[test]
fn what_nobody_admitted_is_not_written_beyond_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path());
    let bundle = open(&changed(folder.path(), "0.2.0", |manifest| manifest.root.size = ROOT + 1));
    let said = apply(&machine, &bundle, &Random::seeded(1), &mut |_| {}).unwrap_err().to_string();
    assert!(said.contains("larger slots"), "{said}");
}

#[test]
fn one_is_written_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path());
    let bundle = open(&update(folder.path(), "0.2.0"));
    let _held = Hold::take(&machine.run.join("update.lock")).unwrap().unwrap();
    let said = apply(&machine, &bundle, &Random::seeded(1), &mut |_| {}).unwrap_err().to_string();
    assert!(said.contains("another update"), "{said}");
}

#[test]
fn an_older_version_is_asked_for_at_the_boot_loader_for_one_boot() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = machine(folder.path());
    machine.running = version("0.3.0");
    let kernels = machine.esp.join(KERNELS);
    fs::rename(kernels.join("portolan_0.1.0.efi"), kernels.join("portolan_0.3.0.efi")).unwrap();
    let (program, said) = loader(folder.path());
    machine.bootctl = Some(program);
    let from = changed(folder.path(), "0.2.0", |_| {});
    let bundle = open(&from);
    admit(&machine, &bundle.manifest, true).unwrap();
    apply(&machine, &bundle, &Random::seeded(1), &mut |_| {}).unwrap();
    assert_eq!(fs::read_to_string(said).unwrap(), "set-default \nset-oneshot portolan_0.2.0[+.]*efi\n");
}

/// A program that writes down what it is told.
fn loader(folder: &Path) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let (program, said) = (folder.join("bootctl"), folder.join("said"));
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >>{}\n", said.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (program, said)
}
