"""Bridges to other libraries, one file each; importing one needs the library it is named after."""
