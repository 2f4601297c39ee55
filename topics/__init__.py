"""The language of Millrace: what travels between processes, and how it is read.

Topic names and their catalogue, record types, the reader rule, the codec, headers, errors, the schema of the trace and
the names of measures. Nothing here does I/O, reads a clock or knows a broker; every other package imports this one and
this one imports none of ours.
"""
