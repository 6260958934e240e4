"""What comes from outside: files, documents and text, checked or escaped before anything believes or shows them."""
