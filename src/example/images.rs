//! The server `images`: draws a small picture from a few words, always the same one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::picture::{Address, MAX_BLEND, MAX_PROMPT, Picture, SIDE, Style};
use super::server::{Arguments, Output, Server, Tool, text_content};

const TEMPLATE: &str = "picture://{style}/{prompt}";
/// The longest address, in characters: every byte of a prompt may take three.
const MAX_ADDRESS: usize = 13 * MAX_PROMPT;
/// Progress is told four times a picture.
const STEPS: u32 = 4;

/// What the server offers.
pub(super) static SERVER: Server = Server {
    name: "images",
    title: "Small pictures",
    instructions: "Draws a picture of 64 by 64 points from a prompt. Its address, such as \
                   picture://waves/a%20red%20boat, is enough to describe, blend or read it again.",
    tools: &[IMAGINE, DESCRIBE, BLEND],
    prompts: &[],
    resources,
    templates,
    read,
    complete,
};

const IMAGINE: Tool = Tool {
    name: "imagine",
    title: "Draw a picture",
    description: "Draws a small abstract picture from a prompt. The same prompt and style always give \
                  the same picture.",
    input: || {
        let styles = Style::ALL.map(Style::as_str);
        json!({
            "type": "object",
            "properties": {
                "prompt": {"type": "string", "minLength": 1, "maxLength": MAX_PROMPT, "description": "What to draw"},
                "style": {"type": "string", "enum": styles, "default": "mosaic", "description": "How to draw it"},
            },
            "required": ["prompt"],
            "additionalProperties": false,
        })
    },
    output: None,
    run: imagine,
};

const DESCRIBE: Tool = Tool {
    name: "describe",
    title: "Describe a picture",
    description: "Says what a picture shows and which colours it is made of.",
    input: || {
        json!({
            "type": "object",
            "properties": {
                "image": {"type": "string", "description": "The address of the picture, as `imagine` gave it"},
            },
            "required": ["image"],
            "additionalProperties": false,
        })
    },
    output: None,
    run: describe,
};

const BLEND: Tool = Tool {
    name: "blend",
    title: "Blend pictures",
    description: "Weaves two to four pictures into one.",
    input: || {
        json!({
            "type": "object",
            "properties": {
                "images": {
                    "type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": MAX_BLEND,
                    "description": "The addresses of the pictures, as `imagine` gave them",
                },
            },
            "required": ["images"],
            "additionalProperties": false,
        })
    },
    output: None,
    run: blend,
};

fn imagine(arguments: &Arguments) -> Result<Output, String> {
    arguments.only(&["prompt", "style"])?;
    let prompt = arguments.text("prompt", MAX_PROMPT)?;
    let style = match arguments.optional_text("style", MAX_PROMPT)? {
        None => Style::Mosaic,
        Some(name) => Style::named(&name).ok_or_else(|| {
            let styles = Style::ALL.map(Style::as_str).join(", ");
            format!("There is no style `{name}`; there is {styles}.")
        })?,
    };
    let address = Address { style, prompt };
    let sentence = format!("Drew “{}” in {}: {address}", address.prompt, style.as_str());
    Ok(drawn(&Picture::imagine(&address), &sentence))
}

fn describe(arguments: &Arguments) -> Result<Output, String> {
    arguments.only(&["image"])?;
    let address = parse_address(&arguments.text("image", MAX_ADDRESS)?)?;
    let colours = Picture::imagine(&address).main_colours(3);
    let colours: Vec<String> = colours
        .iter()
        .map(|(colour, percent)| format!("{colour} ({percent} %)"))
        .collect();
    let sentence = format!(
        "“{}” in {}, {SIDE} by {SIDE} points, mostly {}.",
        address.prompt,
        address.style.as_str(),
        colours.join(", ")
    );
    Ok(Output {
        content: vec![text_content(&sentence)],
        structured: None,
        steps: 1,
        log: format!("described {address}"),
    })
}

fn blend(arguments: &Arguments) -> Result<Output, String> {
    arguments.only(&["images"])?;
    let images = arguments.texts("images", MAX_BLEND)?;
    let addresses = images
        .iter()
        .map(|image| parse_address(image))
        .collect::<Result<Vec<_>, _>>()?;
    let pictures: Vec<Picture> = addresses.iter().map(Picture::imagine).collect();
    let prompts: Vec<String> = addresses
        .iter()
        .map(|address| format!("“{}”", address.prompt))
        .collect();
    let sentence = format!("Blended {}.", prompts.join(", "));
    Ok(drawn(&Picture::blend(&pictures), &sentence))
}

fn drawn(picture: &Picture, sentence: &str) -> Output {
    let data = STANDARD.encode(picture.to_png());
    let image = json!({"type": "image", "mimeType": "image/png", "data": data});
    Output {
        content: vec![text_content(sentence), image],
        structured: None,
        steps: STEPS,
        log: format!("drew a picture of {SIDE} by {SIDE} points"),
    }
}

fn parse_address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|()| {
        format!(
            "`{}` is no picture; give an address such as picture://waves/a%20red%20boat, \
             as `imagine` returns it.",
            text.chars().take(80).collect::<String>()
        )
    })
}

fn resources() -> Vec<Value> {
    let samples = Style::ALL.map(|style| {
        let prompt = "the village green".to_owned();
        let address = Address { style, prompt };
        let name = format!("{} in {}", address.prompt, style.as_str());
        json!({"uri": address.to_string(), "name": name, "mimeType": "image/png"})
    });
    samples.into()
}

fn templates() -> Vec<Value> {
    vec![json!({
        "uriTemplate": TEMPLATE,
        "name": "picture",
        "title": "A picture",
        "description": "The picture that `imagine` draws from this style and prompt",
        "mimeType": "image/png",
    })]
}

fn read(uri: &str) -> Option<Value> {
    let address: Address = uri.parse().ok()?;
    let blob = STANDARD.encode(Picture::imagine(&address).to_png());
    Some(json!({"uri": uri, "mimeType": "image/png", "blob": blob}))
}

fn complete(reference: &str, argument: &str) -> Option<Vec<String>> {
    match (reference, argument) {
        (TEMPLATE, "style") => Some(Style::ALL.map(|style| style.as_str().into()).into()),
        (TEMPLATE, "prompt") => Some(Vec::new()),
        _ => None,
    }
}
