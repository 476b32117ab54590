"""All that this code base knows about the pinned workerd, one part per module.

When the pin moves, these are the files to look at: `binary` (where it is, how it is started),
`config` (its configuration schema), `compatibility` (dates and flags), `messages` (what it says
when a script does not start). Each has a test that runs the pinned binary.
"""
