use super::*;

/// Configurations as published, by the built-in model that they are. Their values are those on the models' pages
/// (huggingface.co), as public repositories quote them.
const PUBLISHED: &[(&str, &str)] = &[
    (
        "FLUX.1-dev",
        r#"{"_class_name": "FluxTransformer2DModel", "_diffusers_version": "0.30.0.dev0",
        "_name_or_path": "../checkpoints/flux-dev/transformer", "attention_head_dim": 128, "guidance_embeds": true,
        "in_channels": 64, "joint_attention_dim": 4096, "num_attention_heads": 24, "num_layers": 19,
        "num_single_layers": 38, "patch_size": 1, "pooled_projection_dim": 768}"#,
    ),
    (
        "SD3-medium",
        r#"{"_class_name": "SD3Transformer2DModel", "sample_size": 128, "patch_size": 2, "in_channels": 16,
        "num_layers": 24, "attention_head_dim": 64, "num_attention_heads": 24, "joint_attention_dim": 4096,
        "caption_projection_dim": 1536, "pooled_projection_dim": 2048, "out_channels": 16, "pos_embed_max_size": 192}"#,
    ),
    (
        "SD3.5-large",
        r#"{"_class_name": "SD3Transformer2DModel", "sample_size": 128, "patch_size": 2, "in_channels": 16,
        "num_layers": 38, "attention_head_dim": 64, "num_attention_heads": 38, "joint_attention_dim": 4096,
        "caption_projection_dim": 2432, "pooled_projection_dim": 2048, "out_channels": 16, "pos_embed_max_size": 192,
        "dual_attention_layers": [], "qk_norm": "rms_norm"}"#,
    ),
    (
        "SD3.5-medium",
        r#"{"_class_name": "SD3Transformer2DModel", "attention_head_dim": 64, "caption_projection_dim": 1536,
        "dual_attention_layers": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "in_channels": 16,
        "joint_attention_dim": 4096, "num_attention_heads": 24, "num_layers": 24, "out_channels": 16, "patch_size": 2,
        "pooled_projection_dim": 2048, "pos_embed_max_size": 384, "qk_norm": "rms_norm", "sample_size": 128}"#,
    ),
    (
        "PixArt-alpha",
        r#"{"_class_name": "PixArtTransformer2DModel", "_diffusers_version": "0.27.0", "num_layers": 28,
        "num_attention_heads": 16, "attention_head_dim": 72, "cross_attention_dim": 1152, "caption_channels": 4096,
        "patch_size": 2, "in_channels": 4, "sample_size": 128}"#,
    ),
    (
        "CogVideoX-2b",
        r#"{"_class_name": "CogVideoXTransformer3DModel", "_diffusers_version": "0.30.0.dev0",
        "num_layers": 30, "num_attention_heads": 30, "attention_head_dim": 64, "in_channels": 16, "out_channels": 16,
        "patch_size": 2, "sample_frames": 49, "sample_height": 60, "sample_width": 90, "text_embed_dim": 4096,
        "time_embed_dim": 512, "max_text_seq_length": 226, "use_rotary_positional_embeddings": false}"#,
    ),
    (
        "Wan2.1-T2V-1.3B",
        r#"{"_class_name": "WanTransformer3DModel", "_diffusers_version": "0.33.0.dev0",
        "added_kv_proj_dim": null, "attention_head_dim": 128, "cross_attn_norm": true, "eps": 1e-06, "ffn_dim": 8960,
        "freq_dim": 256, "image_dim": null, "in_channels": 16, "num_attention_heads": 12, "num_layers": 30,
        "out_channels": 16, "patch_size": [1, 2, 2], "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024,
        "text_dim": 4096}"#,
    ),
    (
        "Wan2.1-T2V-14B",
        r#"{"_class_name": "WanTransformer3DModel", "attention_head_dim": 128, "ffn_dim": 13824,
        "in_channels": 16, "num_attention_heads": 40, "num_layers": 40, "out_channels": 16, "patch_size": [1, 2, 2],
        "text_dim": 4096}"#,
    ),
    (
        "Wan2.1-I2V-14B",
        r#"{"_class_name": "WanTransformer3DModel", "added_kv_proj_dim": 5120, "attention_head_dim": 128,
        "ffn_dim": 13824, "image_dim": 1280, "in_channels": 36, "num_attention_heads": 40, "num_layers": 40,
        "out_channels": 16, "patch_size": [1, 2, 2], "text_dim": 4096}"#,
    ),
    (
        "HunyuanVideo",
        r#"{"_class_name": "HunyuanVideoTransformer3DModel", "_diffusers_version": "0.32.0.dev0",
        "attention_head_dim": 128, "guidance_embeds": true, "in_channels": 16, "mlp_ratio": 4.0,
        "num_attention_heads": 24, "num_layers": 20, "num_refiner_layers": 2, "num_single_layers": 40,
        "out_channels": 16, "patch_size": 2, "patch_size_t": 1, "pooled_projection_dim": 768, "qk_norm": "rms_norm",
        "rope_axes_dim": [16, 56, 56], "rope_theta": 256.0, "text_embed_dim": 4096}"#,
    ),
];

#[test]
fn a_published_configuration_is_the_built_in_model() {
    for (name, text) in PUBLISHED {
        let found = read(text, "a/transformer/config.json")
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(found.known, "{name}: {:#?}", found.model);
        assert_eq!(found.model.name, *name);
    }
}

#[test]
fn a_known_shape_does_the_same_work_whether_or_not_it_is_recognised() {
    for (name, text) in PUBLISHED {
        let preset = crate::model::find(name).unwrap();
        // The builder's own model, before it is compared with the built-in ones.
        let value: Value = serde_json::from_str(text).unwrap();
        let mut keys = Keys {
            file: "x",
            map: value.as_object().unwrap(),
            assumed: Vec::new(),
        };
        let class = value["_class_name"].as_str().unwrap();
        let (_, build) = families::FAMILIES
            .iter()
            .find(|(known, _)| *known == class)
            .unwrap();
        let built = build(&mut keys).unwrap();
        let work = |model: &Model| model.workload(&preset.default).unwrap().layers;
        assert_eq!(work(&built), work(preset), "{name}");
    }
}

#[test]
fn an_unknown_shape_takes_the_rest_from_its_family() {
    let text = PUBLISHED[0]
        .1
        .replace("\"num_layers\": 19", "\"num_layers\": 8");
    let found = read(&text, "x.json").unwrap();
    assert!(!found.known);
    assert_eq!(found.model.name, "flux-dev");
    assert!(
        found.assumed.iter().any(|line| line.contains("FLUX.1-dev")),
        "{:?}",
        found.assumed
    );
    assert!(found.model.source.contains("assumed:"));
    assert!(found.model.workload(&found.model.default).is_ok());
    // FLUX.1-Fill: 384 channels in, 64 out.
    let fill = PUBLISHED[0].1.replace(
        "\"in_channels\": 64",
        "\"in_channels\": 384, \"out_channels\": 64",
    );
    let fill = read(&fill, "x.json").unwrap();
    assert_eq!(fill.model.latent.channels, 16);
    assert!(
        fill.assumed
            .iter()
            .any(|line| line.starts_with("80 of the input channels")),
        "{:?}",
        fill.assumed
    );
}

#[test]
fn a_configuration_says_the_same_under_every_name() {
    for (base, text) in PUBLISHED {
        // One block fewer or more: no built-in model.
        let layers = [30, 40, 42, 28, 24, 38, 19, 20];
        let from = layers
            .iter()
            .find(|n| text.contains(&format!("\"num_layers\": {n}")))
            .unwrap();
        let text = text.replace(&format!("\"num_layers\": {from}"), "\"num_layers\": 23");
        let text = text.replace("_name_or_path", "_told");
        let [plain, named] =
            ["pix.json", "PixArt-SD3-T5.json"].map(|file| read(&text, file).unwrap());
        assert!(!plain.known, "{base}");
        let labels = |model: &Model| (model.name.clone(), model.source.clone());
        let (name, source) = labels(&plain.model);
        assert_ne!(name, named.model.name);
        assert_eq!(
            plain.model,
            Model {
                name,
                source,
                ..named.model.clone()
            },
            "{base}"
        );
        // Calibrated figures are those of the built-in model of these shapes, which is named.
        let model = crate::model::find(base).unwrap();
        assert_eq!(
            (&plain.model.phases, &plain.model.launch),
            (&model.phases, &model.launch),
            "{base}"
        );
        assert!(
            plain.assumed.iter().any(|line| line.contains(base)),
            "{base}: {:?}",
            plain.assumed
        );
    }
}

#[test]
fn faults_name_file_key_and_remedy() {
    let refused = |text: &str| read(text, "my.json").unwrap_err().to_string();
    assert!(refused("").starts_with("my.json: the JSON is broken"));
    assert!(refused("[]").contains("is no object"));
    assert!(refused("{}").contains(
        "key _class_name: names no class: give the transformer's config.json; known: Flux"
    ));
    assert!(refused(r#"{"_class_name": "UNet2DConditionModel"}"#).contains("is not read here"));
    for (from, to, words) in [
        (
            "\"num_layers\": 19",
            "\"num_layers\": 0",
            "key num_layers: is 0",
        ),
        (
            "\"num_layers\": 19",
            "\"num_layers\": -1",
            "is no whole number from 0 to 256",
        ),
        (
            "\"num_layers\": 19",
            "\"num_layers\": 1e99",
            "is no whole number",
        ),
        (
            "\"num_attention_heads\": 24",
            "\"num_attention_heads\": 500",
            "are wider than",
        ),
        (
            "\"in_channels\": 64",
            "\"in_channels\": 63",
            "do not fit patches",
        ),
        (
            "\"guidance_embeds\": true",
            "\"guidance_embeds\": \"true\"",
            "is not true or false",
        ),
        (
            "\"patch_size\": 1",
            "\"patch_size\": 2",
            "key patch_size: is 2",
        ),
    ] {
        let error = refused(&PUBLISHED[0].1.replace(from, to));
        assert!(error.contains(words), "{error}");
    }
    let wide = PUBLISHED[0].1.replace(
        "\"num_attention_heads\": 24",
        "\"num_attention_heads\": 250",
    );
    let error = refused(&wide.replace("\"num_layers\": 19", "\"num_layers\": 200"));
    assert!(error.contains("more than can be simulated"), "{error}");
    let deep = format!("{{\"a\": {}", "[".repeat(100_000));
    assert!(refused(&deep).contains("the JSON is broken"));
    assert!(refused(&" ".repeat(LARGEST_FILE + 1)).contains("more than 1048576"));
}

#[test]
fn damaged_configurations_never_panic() {
    for (_, text) in PUBLISHED {
        let mut variants: Vec<String> = (1..14)
            .map(|share| text[..text.len() * share / 14].to_owned())
            .collect();
        for (from, to) in [
            ("1", "99999999999"),
            ("2", "0"),
            ("4", "-4"),
            ("true", "null"),
            ("64", "\"64\""),
            ("16", "[16]"),
            ("[", "{"),
            (",", ""),
            ("128", "1024"),
            ("_class_name", "class"),
        ] {
            variants.push(text.replace(from, to));
        }
        for variant in &variants {
            match read(variant, "my.json") {
                Ok(found) => {
                    assert!(found.model.workload(&found.model.default).is_ok() || !found.known)
                }
                Err(error) => assert!(error.to_string().starts_with("my.json"), "{error}"),
            }
        }
        assert!(variants.len() >= 20);
    }
}
