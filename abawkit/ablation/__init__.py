"""Ablation: one table of what each choice is worth, every row made under the same conditions."""
