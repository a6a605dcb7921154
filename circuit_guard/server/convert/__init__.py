"""The only mapping between the gRPC contract and the core.

fields     reads one field of a request: bounded text, decimal, time, count, choice
requests   protobuf -> core inputs; raises WireError with the path of the field
enums      the enumerations, as tables
records    a core type and its message: one table of fields, written and read
answers    core facts -> protobuf answers
events     core facts -> protobuf events
status     core status -> protobuf status
received   answers, events and status -> core
"""
