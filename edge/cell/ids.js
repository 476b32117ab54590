// The namespace that makes ids of another Worker's Durable Objects: nothing leads to its objects.
export class Nobody {}
