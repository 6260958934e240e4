"""How the documentation is built: Sphinx with MyST, API pages from the docstrings."""

project = "bpfunc"
author = "The bpfunc maintainers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "bpfunc"
autodoc_member_order = "bysource"
default_role = "literal"
napoleon_custom_sections = ["Reference"]
# The reference of these bridges is built without their libraries.
autodoc_mock_imports = ["google", "onnx", "onnxruntime", "sklearn"]
