package policy

// compiled is the part of a Book that Compile works out once per revision.
type compiled struct{}
