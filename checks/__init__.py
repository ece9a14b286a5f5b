"""Claims on trial: evidence, verdicts, figures and the report; never trains, never imports torch.

command_line    the command line, put together from the commands of both
core/           the verification core, which knows no theory
multi_concept/  the multi-concept theory on trial: its claims, and what the core asks of a theory
"""
