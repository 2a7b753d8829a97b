"""The thesis reproduced: its teacher, experiments, tables, figure and claims."""
