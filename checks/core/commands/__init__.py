"""The commands that work on any theory.

audit    The command that puts polyseme itself on trial: audit
falsify  Commands that search for what breaks a claim: falsify
map      The command that draws where claims hold: map
options  Arguments and options that commands share
report   The command that shows what was judged: report
sweep    Commands over many regimes: sweep
verify   Commands that judge: claims, verify
"""
