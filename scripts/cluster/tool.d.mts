export class Cluster {
  constructor(program: string);
}
