#!/bin/sh
# Our own code is there: import all that a worker imports, once. It proves that nothing is missing, and leaves the
# .pyc files of just these modules, which the unprivileged worker could not write.
set -eu
cd "${1:-/opt/aseagi}"
env -u ASEAGI_INSTANCE_FOLDER PYTHONDONTWRITEBYTECODE= ASEAGI_HOME=/tmp/aseagi /opt/venv/bin/python - <<'PYTHON'
import importlib, pathlib, sys

sys.path.insert(0, ".")
names = ["aseagi_tasks.tasks", "aseagi_tasks.control", "aseagi_tasks.fleet.watchdog", "aseagi_tasks.fleet.health"]
names += ["aseagi_tasks.fleet.instance", "celery.bin.worker", "celery.concurrency.prefork", "celery.concurrency.thread"]
for folder in ("stages", "reading", "analysis", "fleet"):
    names += [f"aseagi_tasks.{folder}.{path.stem}" for path in sorted(pathlib.Path("aseagi_tasks", folder).glob("*.py"))]
sys.modules["aseagi_tasks.reports"] = None  # the image has nothing to print with
for name in names:
    try:
        importlib.import_module(name.removesuffix(".__init__"))
    except ModuleNotFoundError as missing:  # what is written for people is the control plane's
        if not str(missing.name).startswith("aseagi_tasks.reports") or not name.startswith("aseagi_tasks.stages."):
            raise
if importlib.util.find_spec("torch"):
    import transformers

    transformers.VisionEncoderDecoderModel, transformers.TrOCRForCausalLM, transformers.ViTModel
print(len(sys.modules), "modules imported")
PYTHON
rm -rf /tmp/aseagi
