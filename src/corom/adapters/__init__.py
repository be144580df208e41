"""What other libraries expect of a model, one small file each."""
