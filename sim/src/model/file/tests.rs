use toml::Value;

use super::super::builtin::FILES;
use super::super::{Encoder, Request, Resolution, source_text};
use super::*;

/// Every value of a file that holds no others, by its path; tables among arrays are counted.
fn leaves(value: &Value, path: &[String], found: &mut Vec<Vec<String>>) {
    let mut inside = |key: String, value: &Value| leaves(value, &[path, &[key]].concat(), found);
    match value {
        Value::Table(table) => table
            .iter()
            .for_each(|(key, value)| inside(key.clone(), value)),
        Value::Array(list) if !list.is_empty() => {
            list.iter()
                .enumerate()
                .for_each(|(at, value)| inside(at.to_string(), value));
        }
        _ => found.push(path.to_vec()),
    }
}

/// The value at a path.
fn at<'a>(value: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(value, |value, key| match value {
        Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
        other => &mut other[key.as_str()],
    })
}

/// A path as errors write it: `engines.xdit.splits[0]`.
fn dotted(path: &[String]) -> String {
    let part = |key: &String| match key.parse::<usize>() {
        Ok(_) => format!("[{key}]"),
        Err(_) => format!(".{key}"),
    };
    path.iter().map(part).collect::<String>()[1..].to_owned()
}

fn refused(text: &str) -> FileError {
    read(text, "mine.toml").expect_err(text)
}

#[test]
fn every_damaged_value_of_every_built_in_file_is_told_with_its_key() {
    for (name, text) in FILES {
        let whole: Value = toml::from_str(text).unwrap();
        let mut paths = Vec::new();
        leaves(&whole, &[], &mut paths);
        assert!(paths.len() > 30, "{name}");
        for path in &paths {
            // Text is free in these, and a list of names takes any.
            let last = path
                .iter()
                .rfind(|key| key.parse::<usize>().is_err())
                .unwrap();
            let free = [
                "name",
                "source",
                "absent",
                "aliases",
                "repository",
                "diffusers_class",
                "diffusers_absent",
                "task",
                "script",
                "settings",
            ];
            let free =
                free.contains(&last.as_str()) || ["runner", "example"].contains(&last.as_str());
            let odd = [
                Value::from(vec![vec![-1]]),
                Value::from(-1),
                Value::from(f64::NAN),
                Value::from("no such thing\u{7}"),
            ];
            for value in odd
                .into_iter()
                .chain((!free).then(|| Value::from("nosuchthing")))
            {
                let mut damaged = whole.clone();
                *at(&mut damaged, path) = value.clone();
                let damaged = toml::to_string(&damaged).unwrap();
                let error = read(&damaged, name).expect_err(&damaged);
                let (shown, key) = (error.to_string(), dotted(path));
                assert!(
                    shown.starts_with(name) && error.line > 0,
                    "{key} = {value}: {shown}"
                );
                // A list may be refused as a whole.
                let list = key.rsplit_once('[').map_or(key.as_str(), |(list, _)| list);
                assert!(error.key.starts_with(list), "{key} = {value}: {shown}");
            }
        }
    }
}

#[test]
fn every_misspelt_key_of_every_built_in_file_is_told_with_the_right_one() {
    for (name, text) in FILES {
        let whole: Value = toml::from_str(text).unwrap();
        let mut paths = Vec::new();
        leaves(&whole, &[], &mut paths);
        for path in &paths {
            let Some((last, table)) = path
                .split_last()
                .filter(|(last, _)| last.parse::<usize>().is_err())
            else {
                continue;
            };
            let mut damaged = whole.clone();
            let keys = at(&mut damaged, table).as_table_mut().unwrap();
            let value = keys.remove(last).unwrap();
            let misspelt = format!("{last}z");
            keys.insert(misspelt.clone(), value);
            let error = refused(&toml::to_string(&damaged).unwrap());
            let shown = error.to_string();
            assert!(
                error.line > 0 && shown.contains(&misspelt),
                "{name} {path:?}: {shown}"
            );
            assert!(
                error.remedy.contains(&format!("did you mean \"{last}\"?")),
                "{name} {path:?}: {shown}"
            );
        }
    }
}

#[test]
fn what_a_file_is_called_decides_nothing() {
    for (name, text) in FILES {
        let found = read(text, "PixArt-SD3-T5-mine.toml").unwrap();
        assert_eq!(found, read(text, name).unwrap());
        assert!(found.known);
        // Nor does what the model is called: its figures are those of the built-in one.
        let renamed = read(
            &text.replacen(
                &format!("name = \"{}\"", found.model.name),
                "name = \"mine\"",
                1,
            ),
            name,
        )
        .unwrap();
        assert_eq!(renamed.model, found.model);
    }
}

#[test]
fn one_part_has_the_same_figures_in_all_files() {
    for one in known() {
        for other in known() {
            assert!(
                one.vae.name != other.vae.name || one.vae == other.vae,
                "{}",
                other.name
            );
            for (a, b) in one
                .encoders
                .iter()
                .flat_map(|a| other.encoders.iter().map(move |b| (a, b)))
            {
                let b = Encoder {
                    tokens: a.tokens,
                    ..b.clone()
                };
                assert!(a.name != b.name || *a == b, "{} of {}", a.name, other.name);
            }
        }
    }
}

#[test]
fn the_example_of_the_manual_is_a_model() {
    let manual = include_str!("../../../../docs/models.md");
    let example = manual
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let found = read(example, "docs/models.md").unwrap();
    assert_eq!(
        (found.model.name.as_str(), found.known),
        ("My-DiT-2B", false)
    );
}

#[test]
fn figures_that_do_not_fit_each_other_name_their_key() {
    let flux = "FLUX.1-dev";
    for (model, from, to, words) in [
        (
            flux,
            "hidden = 3072",
            "hidden = 3073",
            "line 4, key hidden: 24 heads of 128 are 3072 wide",
        ),
        (
            flux,
            "heads = 24",
            "heads = 0",
            "line 5, key heads: 0 is no whole number from 1 to 512",
        ),
        (
            flux,
            "double = 19",
            "double = 0x7fffffffffffffff",
            "line 9, key family.joint.double: ",
        ),
        (
            flux,
            "last_text = \"kept\"",
            "dual_attention = 20\nlast_text = \"kept\"",
            "key family.joint.dual_attention",
        ),
        (
            flux,
            "single = 38",
            "single = 0\nlast_text = \"dropped\"",
            "duplicate key",
        ),
        (
            flux,
            "size = \"1024x1024\"",
            "size = \"1000x1024\"",
            "key default: FLUX.1-dev cannot make a width of 1000",
        ),
        (
            flux,
            "[family.joint]",
            "[family.joints]",
            "key family: \"joints\" is none of its values: did you mean \"joint\"?",
        ),
        (
            flux,
            "black-forest-labs/FLUX.1-dev",
            "x; rm -rf ~",
            "stands in a command",
        ),
        (
            flux,
            "double = 19",
            "double = 18",
            "line 1, key name: \"FLUX.1-dev\" is a built-in model with other figures",
        ),
        (
            flux,
            "linear = 4096",
            "linears = 4096",
            "did you mean \"linear\"?",
        ),
        (flux, "head_dim = 128\n", "", "key head_dim: is missing"),
        (
            "SANA-1600M",
            "cross_heads = 20",
            "cross_heads = 19",
            "19 does not divide a width of 2240",
        ),
        (
            "HiDream-I1",
            "active = 2",
            "active = 5",
            "a token passes 5 of 4 experts",
        ),
        (
            "LTX-2",
            "audio_hidden = 2048",
            "audio_hidden = 2047",
            "32 heads do not divide a width of 2047",
        ),
        (
            "SDXL",
            "channels = 640",
            "channels = 641",
            "641 channels are not heads of 64",
        ),
        (
            "SDXL",
            "hidden = 320",
            "hidden = 0",
            "line 5, key hidden: 0 is no whole number",
        ),
    ] {
        let text = source_text(model).unwrap();
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let error = refused(&changed).to_string();
        assert!(
            error.starts_with("mine.toml") && error.contains(words),
            "{error}"
        );
    }
    assert!(
        refused("name = 'a'\nhidden = 1\nhidden = 2")
            .to_string()
            .contains("line 3")
    );
    assert!(
        refused(&" ".repeat(LARGEST_FILE + 1))
            .to_string()
            .contains("more than 1048576")
    );
    assert!(refused("").to_string().contains("key name: is missing"));
}

/// The largest figures a file may have, at the largest request: no count leaves 64 bits (debug builds would panic).
#[test]
fn the_largest_models_at_the_largest_requests_are_counted() {
    let shape = [("hidden", 32_768), ("heads", 512), ("head_dim", 64)];
    let vae = [
        ("vae.first_flop_per_pixel", 1_000_000_000),
        ("vae.next_flop_per_pixel", 1_000_000_000),
        ("vae.widest", 32_768),
        ("vae.element_bytes", 8),
        ("vae.spatial", 1),
        ("latent.spatial", 64),
        ("latent.patch", 8),
        ("latent.channels", 4096),
    ];
    let families: &[(&str, &[(&str, i64)])] = &[
        (
            "FLUX.1-dev",
            &[
                ("family.joint.double", 2),
                ("family.joint.single", 2),
                ("family.joint.feed_forward", 262_144),
            ],
        ),
        (
            "HunyuanVideo",
            &[
                ("family.joint.double", 2),
                ("family.joint.single", 2),
                ("family.joint.feed_forward", 262_144),
            ],
        ),
        (
            "Wan2.1-T2V-14B",
            &[
                ("family.cross.layers", 8),
                ("family.cross.feed_forward", 262_144),
            ],
        ),
        (
            "Latte-1",
            &[
                ("family.factorised.pairs", 4),
                ("family.factorised.feed_forward", 262_144),
            ],
        ),
        (
            "CogVideoX-5b",
            &[
                ("family.shared.layers", 4),
                ("family.shared.feed_forward", 262_144),
            ],
        ),
        (
            "LTX-2",
            &[
                ("family.dual-stream.layers", 2),
                ("family.dual-stream.feed_forward", 262_144),
                ("family.dual-stream.audio_hidden", 32_768),
                ("family.dual-stream.audio_rate", 100),
                ("family.dual-stream.frame_rate", 1),
            ],
        ),
    ];
    for (name, own) in families {
        let mut whole: Value = toml::from_str(&source_text(name).unwrap()).unwrap();
        for (key, most) in shape.iter().chain(&vae).chain(*own) {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            *at(&mut whole, &path) = Value::from(*most);
        }
        whole["default"]["size"] = Value::from("1024x1024");
        let model = parse(&toml::to_string(&whole).unwrap(), "x").unwrap();
        let mut served = 0;
        for (side, frames) in [(65_536, 1), (65_536, 255), (512, 65_521), (1024, 65_521)] {
            let resolution = Resolution::square(side);
            let request = Request {
                resolution,
                frames,
                ..model.default
            };
            if let Ok(work) = model.workload(&request) {
                served += 1;
                assert!(work.denoise_flops().get() > 0 && work.vae_flops().get() > 0);
                let _ = (
                    work.vae_peak_bytes(),
                    work.encoder_flops(),
                    work.latent_bytes(),
                    work.kv_bytes_per_block(),
                );
            }
        }
        assert!(served > 0, "{name}");
    }
}
