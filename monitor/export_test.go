package monitor

import "time"

// ForgetAfter shortens how long a list of nodes is believed.
func ForgetAfter(d time.Duration) Option { return func(o *Options) { o.forgetAfter = d } }
