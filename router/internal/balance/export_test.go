package balance

// Plans returns how many plans the table keeps.
func (p *Pool) Plans() int { return len(*p.table.Load().plans.Load()) }
