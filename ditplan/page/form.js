"use strict";
// The form of `ditplan serve`: asks when it is told to, waits, shows, cancels.

function field(name, label, properties = {}) {
  return el("label", {}, label, el("input", { name, ...properties }));
}

function choices(name, label, values, chosen) {
  return el("label", {}, label, el("select", { name }, values.map((value) =>
    el("option", value === chosen ? { value, selected: "" } : { value }, value))));
}

function flag(name, label) {
  return el("label", {}, label, el("input", { name, type: "checkbox" }));
}

/** known: {models, machines}. */
function startForm(known) {
  const answer = document.getElementById("page");
  const wait = el("span", { class: "soft" });
  let run = null;
  const cancel = el("button", { type: "button", class: "quiet", onclick: () => run && fetch("/run/" + run, { method: "DELETE" }) }, "Cancel");
  const vary = field("vary", "vary (sweep), a line each: FIELD=FROM..TO:COUNT:log", { size: 44, value: "link.bandwidth=1GB/s..900GB/s:30:log" });
  const rate = field("rate", "rate", { size: 7, value: "2/s" });
  const slo = field("slo", "objective", { size: 18, value: "p95<=12s" });
  const mix = field("mix", "mix of sizes", { size: 28, placeholder: "1024x1024:0.7,2048x2048:0.3" });
  const only = { sweep: [vary], capacity: [rate, slo, mix] };
  const form = el("form", {},
    choices("command", "ask for", ["plan", "sweep", "capacity"], "plan"),
    choices("model", "model", known.models, "FLUX.1-dev"),
    el("label", {}, "machine (or 16xL20@25GB/s)", el("input", { name: "machine", list: "machines", value: "4xl20-pcie" }),
      el("datalist", { id: "machines" }, known.machines.map((name) => el("option", { value: name })))),
    field("gpus", "GPUs", { type: "number", min: 1, size: 4, style: "width:5em" }),
    field("size", "size", { placeholder: "1024x1024", size: 9 }),
    field("frames", "frames", { type: "number", min: 1, style: "width:5em" }),
    field("steps", "steps", { type: "number", min: 1, style: "width:5em" }),
    field("batch", "batch", { type: "number", min: 1, style: "width:5em" }),
    field("budget", "quality budget", { placeholder: "psnr>=30, fid<=7", size: 14 }),
    choices("engine", "engine", ["xdit", "sglang", "diffusers"], "xdit"),
    flag("compile", "compiled"), flag("exact", "exact only"), vary, rate, slo, mix,
    el("button", {}, "Ask"), cancel, wait);
  const single = [...form.querySelectorAll("[name=gpus], [name=size], [name=frames], [name=steps], [name=budget]")].map((input) => input.parentElement);
  const arrange = () => {
    const command = form.elements.command.value;
    for (const [name, labels] of Object.entries(only)) for (const label of labels) label.style.display = name === command ? "" : "none";
    for (const label of single) label.style.display = command === "capacity" ? "none" : "";
  };
  form.elements.command.addEventListener("change", arrange);
  arrange();
  const mistake = (text) => answer.replaceChildren(el("div", { class: "mistake" }, text));
  const poll = async (id) => {
    for (;;) {
      const state = await (await fetch("/run/" + id)).json();
      if (state.state === "running") {
        wait.textContent = `${state.seconds.toFixed(0)} s`;
        await new Promise((done) => setTimeout(done, 200));
        continue;
      }
      wait.textContent = "";
      run = null;
      if (state.state === "done") answer.replaceChildren(...show(state.data));
      else mistake(state.mistake);
      return;
    }
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const options = {};
    for (const input of form.elements) {
      if (!input.name || input.name === "command" || input.parentElement.style.display === "none") continue;
      if (input.type === "checkbox") { if (input.checked) options[input.name] = true; }
      else if (input.value.trim() !== "") options[input.name] = input.value.trim();
    }
    try {
      const body = JSON.stringify({ command: form.elements.command.value, options });
      const reply = await fetch("/run", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      const started = await reply.json();
      if (!reply.ok) return mistake(started.mistake);
      run = started.id;
      await poll(run);
    } catch (error) {
      mistake(`no answer (${error}): is ditplan serve still running?`);
    }
  });
  document.getElementById("form").replaceChildren(el("h1", {}, "ditplan"), form);
}
